"""Heun's method against EDM's algorithm 1, written out."""

import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("path", [paths.edm(), paths.vp_linear(), paths.ou()], ids=lambda p: p.key)
def test_rho_is_algorithm_1_of_edm_in_u_over_a(path, zero):
    grid = times.karras(path, 7, zero=zero)
    y = torch.tensor([[2.0, -3.0, 0.5]], dtype=torch.float64)
    x = torch.tensor([[0.3, 4.0, -1.0]], dtype=torch.float64)
    a, b, s = path.coefficients(grid)
    sigma = s / a

    def denoise(x, t):
        return torch.tanh(x) + t

    scaled = (x - b[0] * y) / a[0]
    for i in range(7):
        slope = (scaled - denoise(a[i] * scaled + b[i] * y, grid[i])) / sigma[i]
        predicted = scaled + (sigma[i + 1] - sigma[i]) * slope
        if sigma[i + 1] > 0:
            again = (predicted - denoise(a[i + 1] * predicted + b[i + 1] * y, grid[i + 1])) / sigma[i + 1]
            slope = (slope + again) / 2
        scaled = scaled + (sigma[i + 1] - sigma[i]) * slope
    out = sample(denoise, path, times=grid, solver=solvers.heun(), x=x, y=y)
    torch.testing.assert_close(out.x, a[-1] * scaled + b[-1] * y, rtol=1e-10, atol=1e-10)
    assert out.nfe == (13 if zero else 14)
    assert torch.equal(out.times, grid)


def test_names_and_errors():
    assert solvers.heun("trig").name == "heun('trig', sigma_data=0.5)"
    with pytest.raises(UsageError, match="a basis out of"):
        solvers.heun("euler")
