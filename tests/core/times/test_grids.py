"""Grids: n + 1 decreasing times, where they should be."""

import math

import pytest
import torch

from fewstep.core import paths, times
from fewstep.core.errors import UsageError

TABLE = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
MAKERS = [times.uniform, times.uniform_logsnr, times.karras, times.trailing, times.leading]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n", [1, 2, 7, 50, 999, 1000])
def test_n_plus_one_decreasing_times_that_end_at_the_data(make, n):
    grid = make(paths.vp_table(TABLE), n)
    assert grid.shape == (n + 1,)
    assert grid.dtype == torch.float64
    assert (grid.diff() < 0).all()
    assert grid[-1] == 0
    assert make is times.leading or grid[0] == 1


def test_uniform():
    assert times.uniform(paths.vp_linear(), 4).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert times.uniform(paths.vp_linear(), 2, start=0.5, end=0.1).tolist() == pytest.approx([0.5, 0.3, 0.1])


def test_uniform_logsnr():
    path = paths.ou()
    lam = path.lam(times.uniform_logsnr(path, 5)[:-1])
    torch.testing.assert_close(lam.diff(), lam.diff().mean().expand(4))
    full = times.uniform_logsnr(path, 5, zero=False)
    assert (float(full[0]), float(full[-1])) == (path.t_max, path.t_min)
    assert full.shape == (6,)


def test_karras_is_the_published_formula():
    n, rho, low, high = 10, 7.0, 0.002, 80.0
    root = high ** (1 / rho) + torch.arange(n, dtype=torch.float64) / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))
    torch.testing.assert_close(times.karras(paths.edm(low, high), n)[:-1], root**rho)
    sigma = torch.exp(-paths.vp_linear().lam(times.karras(paths.vp_linear(), n, 3.0)[:-1])) ** (1 / 3)
    torch.testing.assert_close(sigma.diff(), sigma.diff().mean().expand(n - 1))


@pytest.mark.parametrize("make", [times.uniform_logsnr, times.karras])
def test_ends_without_finite_noise_are_refused(make):
    with pytest.raises(UsageError, match="infinite at start=1.0: pass a start inside"):
        make(paths.rectified_flow(), 5)
    with pytest.raises(UsageError, match=r"infinite at end=0\.0: pass a end"):
        make(paths.vp_linear(), 5, end=0.0)
    assert make(paths.rectified_flow(), 5, start=0.99)[0] == 0.99


def test_shift_lowers_lam_by_log_m():
    grid = times.uniform(paths.rectified_flow(), 10)
    shifted = times.shift(grid, 3.0)
    assert (shifted[0], shifted[-1]) == (1, 0)
    lam = paths.rectified_flow().lam
    torch.testing.assert_close(lam(shifted[1:-1]), lam(grid[1:-1]) - math.log(3.0))
    torch.testing.assert_close(paths.rectified_flow(3.0).lam(grid[1:-1]), lam(shifted[1:-1]))


def test_errors():
    path = paths.vp_linear()
    with pytest.raises(UsageError, match="at least one step, got n=0"):
        times.uniform(path, 0)
    with pytest.raises(UsageError, match="0 <= end < start <= 1.0"):
        times.uniform(path, 3, start=2.0)
    with pytest.raises(UsageError, match="0 <= end < start"):
        times.karras(path, 3, start=0.1, end=0.2)
    with pytest.raises(UsageError, match="rho > 0"):
        times.karras(path, 3, 0.0)
    with pytest.raises(UsageError, match="m > 0"):
        times.shift(times.uniform(path, 3), 0.0)
    with pytest.raises(UsageError, match=r"times in \[0, 1\]"):
        times.shift(torch.tensor([2.0, 1.0]), 3.0)
