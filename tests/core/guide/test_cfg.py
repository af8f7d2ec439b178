"""Classifier-free guidance."""

import math

import pytest
import torch

from fewstep.core import guide, nfe, paths, sample, solvers, times
from fewstep.core.errors import UsageError


def cond(x, t):
    return torch.full_like(x, 3.0)


def uncond(x, t):
    return torch.full_like(x, 1.0)


@pytest.mark.parametrize(("scale", "expected"), [(0.0, 1.0), (1.0, 3.0), (2.5, 6.0), (-1.0, -1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.bfloat16], ids=str)
def test_extrapolates_from_uncond_through_cond(scale, expected, dtype):
    x = torch.zeros(2, dtype=dtype)
    assert torch.equal(guide.cfg(cond, uncond, scale)(x, torch.tensor(0.5)), torch.full_like(x, expected))


def test_off_is_the_conditional_denoiser_itself():
    assert guide.cfg(cond, uncond, 1.0) is cond


def test_interval():
    guided = guide.cfg(cond, uncond, 2.0, interval=(0.2, 0.6))
    assert [guided(torch.zeros(()), torch.tensor(t)).item() for t in (0.1, 0.2, 0.5, 0.7)] == [
        3,
        pytest.approx(5),
        5,
        3,
    ]


@pytest.mark.parametrize(
    ("scale", "interval", "calls"), [(1.0, (0, math.inf), 4), (3.0, (0, math.inf), 8), (3.0, (0.4, 0.8), 6)]
)
def test_calls_are_counted(scale, interval, calls):
    path = paths.vp_linear()
    denoise = guide.cfg(cond, uncond, scale, interval=interval)
    out = sample(denoise, path, times=times.uniform(path, 4), solver=solvers.ddim(), shape=(1, 2), generator=0)
    assert out.nfe == calls


def test_guidance_nests():
    inner = guide.cfg(cond, uncond, 2.0)
    with nfe.count() as counter:
        nfe.call(guide.cfg(inner, uncond, 2.0), torch.zeros(1), torch.tensor(0.5))
    assert counter.calls == 3


def test_errors():
    with pytest.raises(UsageError, match="finite guidance_scale, got nan"):
        guide.cfg(cond, uncond, math.nan)
    with pytest.raises(UsageError, match="interval"):
        guide.cfg(cond, uncond, 2.0, interval=(1.0, 0.5))
