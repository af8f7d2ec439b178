"""The MR Sampler's own formulas, in x and mu, re-derived here: our tables in u = x − b y give the same states."""

import itertools
import math

import pytest
import torch

from fewstep.core import paths, rng, sample, solvers
from fewstep.core.errors import UsageError

MU = torch.tensor([[2.0, -3.0, 0.5]], dtype=torch.float64)
X = torch.tensor([[0.3, 4.0, -1.0]], dtype=torch.float64)


def denoise(x, t):
    return torch.tanh(x) + t


def closed_form(path, grid, kind, order, seed=5):
    """x_n = k x + mu (1 − a_n − k (1 − a_p)) + a_n w_0 D + a_n w_1 D' + noise: Li et al. 2025, propositions 2 and 4."""
    streams, x, before, last = rng.streams(seed, 1), X, None, None
    for t, n in itertools.pairwise(grid):
        (a_p, _, s_p), (a_n, _, s_n) = ([float(value) for value in path.coefficients(u)] for u in (t, n))
        h = math.log(a_n / s_n) - math.log(a_p / s_p)
        rate = 1 if kind == "ode" else 2
        now, k = denoise(x, float(t)), s_n / s_p * math.exp(-(rate - 1) * h)
        x = k * x + MU * (1 - a_n - k * (1 - a_p)) - a_n * math.expm1(-rate * h) * now
        if order == 2 and before is not None:
            x = x + a_n * (h + math.expm1(-rate * h) / rate) * (now - before) / last
        if kind == "sde":
            x = x + s_n * math.sqrt(-math.expm1(-2 * h)) * rng.normal(x.shape, streams, x.dtype)
        before, last = now, h
    return x


@pytest.mark.parametrize(("kind", "order"), [("ode", 1), ("ode", 2), ("sde", 1), ("sde", 2)])
@pytest.mark.parametrize("path", [paths.ir_sde(), paths.ou()], ids=lambda path: path.key.split("(")[0])
def test_is_its_closed_form(path, kind, order):
    grid = torch.tensor([1.0, 0.8, 0.63, 0.4, 0.3, 0.05], dtype=torch.float64)
    expected = closed_form(path, grid, kind, order)
    out = sample(denoise, path, times=grid, solver=solvers.mr_sampler(order, kind), x=X, y=MU, generator=5)
    torch.testing.assert_close(out.x, expected, rtol=1e-11, atol=1e-11)


def test_is_dpmpp():
    assert solvers.mr_sampler(3) == solvers.dpmpp_3m()
    assert solvers.mr_sampler() == solvers.dpmpp_2m("taylor")
    assert solvers.mr_sampler(2, "sde") == solvers.sde_dpmpp_2m("taylor")


def test_errors():
    with pytest.raises(UsageError, match="kind 'ode' with order 1, 2 or 3, or 'sde' with 1 or 2, got 'sde' with 3"):
        solvers.mr_sampler(3, "sde")
