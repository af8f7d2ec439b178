"""Options, and reconstruction: a smooth image from every second line of its Fourier transform."""

import math

import pytest
import torch

from fewstep.core import consistency, paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.operators import Diagonal, Fourier

from .conftest import SHAPE, undersampled
from .gaussian import dense, exact, randn

PATH = paths.vp_linear()
SIDE = 16
F = Fourier((SIDE, SIDE), (0, 1))


def square_root():
    """L with x0 = L z: smooth images that fade out within half of the field of view, [n, n]."""
    k = (torch.arange(SIDE, dtype=torch.float64) - SIDE // 2) / 3
    low_pass = (1 + k[:, None] ** 2 + k[None] ** 2) ** -1
    k = 3 * k / (SIDE / 5)
    window = torch.exp(-(k[:, None] ** 4) - k[None] ** 4).flatten()
    L = window[:, None] * dense(F.H @ Diagonal(low_pass, (SIDE, SIDE)) @ F)
    return L / L.abs().square().sum(1).mean().sqrt()


ROOT = square_root()
VALUES, BASIS = torch.linalg.eigh(ROOT @ ROOT.mH)


def smooth(x, t):
    """E[x0 | x_t] of such images."""
    inner = exact(PATH, 0.0, VALUES.clamp(min=0))(x.flatten(1) @ BASIS.conj(), t)
    return (inner @ BASIS.T).reshape(x.shape)


RECONSTRUCTIONS = {
    "project": (consistency.project, {}),
    "prox": (consistency.prox, {"sigma_y": 0.05, "sigma_data": 1.0}),
    "dds": (consistency.dds, {}),
    "dds, noise": (consistency.dds, {"sigma_y": 0.05, "sigma_data": 1.0}),
    "pigdm": (consistency.pigdm, {"sigma_y": 0.05, "sigma_data": 5.0}),
}


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstructs_better_than_zero_filling(name):
    method, options = RECONSTRUCTIONS[name]
    A = Diagonal(torch.arange(SIDE)[:, None] % 2 == 0, (SIDE, SIDE)) @ F
    x0 = (randn(4, SIDE**2) @ ROOT.T).reshape(4, SIDE, SIDE)
    measured = A(x0) + 0.05 * A.parts[0](randn(4, SIDE, SIDE, seed=1))
    out = sample(
        method(smooth, A, measured, PATH, **options),
        PATH,
        times=times.uniform_logsnr(PATH, 12),
        solver=solvers.ddim(),
        shape=x0.shape,
        dtype=torch.complex128,
        generator=0,
    )
    error, zero_filled = ((guess - x0).abs().square().sum() for guess in (out.x, A.H(measured)))
    assert out.nfe == 12
    assert error < 0.2 * zero_filled


@pytest.mark.parametrize("name", ["project", "dds"])
def test_hard_consistency_at_the_end(name):
    A = undersampled()
    measured = A(randn(2, *SHAPE, seed=1)).to(torch.complex64)
    out = sample(
        RECONSTRUCTIONS[name][0](exact(PATH), A, measured, PATH),
        PATH,
        times=torch.tensor([1.0, 0.6, 0.2, 0.0]),
        solver=solvers.ddim(),
        shape=(2, *SHAPE),
        dtype=torch.complex64,
        generator=0,
    )
    assert torch.linalg.vector_norm(A(out.x) - measured) < 1e-5 * torch.linalg.vector_norm(measured)


@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        (consistency.project, {"sigma_y": -1.0}, "finite sigma_y >= 0, got -1.0"),
        (consistency.prox, {"sigma_y": 0.0}, "sigma_y > 0, got 0.0: without noise, use consistency.project"),
        (consistency.prox, {"sigma_y": math.inf}, "finite sigma_y >= 0, got inf"),
        (consistency.prox, {"sigma_y": 1.0, "sigma_data": 0.0}, "finite sigma_data > 0, or None"),
        (consistency.dds, {"floor": -1.0}, "finite floor >= 0, got -1.0"),
        (consistency.dds, {"iterations": 0}, "iterations >= 1, got 0"),
        (consistency.dps, {"zeta": 0.0}, "finite zeta > 0, got 0.0"),
        (consistency.pigdm, {"sigma_data": -1.0}, "finite sigma_data > 0"),
    ],
)
def test_wrong_options_are_refused(method, options, match):
    A = undersampled()
    with pytest.raises(UsageError, match=match):
        method(exact(PATH), A, A(randn(1, *SHAPE)), PATH, **options)


@pytest.mark.parametrize(
    ("method", "options"), [(consistency.dps, {"zeta": 1.0}), (consistency.pigdm, {"sigma_data": 1.0})]
)
def test_gradients_must_come_through_the_denoiser(method, options):
    A = undersampled()
    blind = method(lambda x, t: exact(PATH)(x.detach(), t), A, A(randn(1, *SHAPE)), PATH, **options)
    with pytest.raises(UsageError, match="a denoiser that gradients come through"):
        blind(randn(1, *SHAPE), torch.tensor(0.4))
