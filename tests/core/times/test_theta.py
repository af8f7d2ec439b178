"""The trig basis's grid: angles where they should be, on every path."""

import math

import pytest
import torch

from fewstep.core import paths, times
from fewstep.core.errors import UsageError

PATHS = [
    paths.vp_linear(),
    paths.vp_cosine(),
    paths.ve(),
    paths.edm(),
    paths.rectified_flow(),
    paths.ou(),
    paths.sb_ve(),
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.key)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_n_plus_one_decreasing_times_from_the_prior_to_the_data(path, n):
    grid = times.theta(path, n, scale=0.3)
    assert grid.shape == (n + 1,)
    assert grid.dtype == torch.float64
    assert (grid.diff() < 0).all()
    assert (float(grid[0]), float(grid[-1])) == (path.t_max, 0.0)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.key)
def test_angles_are_powers_of_equal_steps(path, power):
    grid = times.theta(path, 8, scale=0.3, power=power)
    angle = torch.atan(torch.exp(-path.lam(grid)) / 0.3)
    u = torch.linspace(1, 0, 9, dtype=torch.float64)
    torch.testing.assert_close((angle - angle[-1]) / (angle[0] - angle[-1]), u**power, rtol=1e-7, atol=1e-9)


def test_it_may_start_late():
    assert float(times.theta(paths.vp_linear(), 3, scale=1.0, start=0.5)[0]) == 0.5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"scale": 0.0}, "expected scale > 0, got 0.0"),
        ({"scale": math.inf}, "expected scale > 0, got inf"),
        ({"scale": 1.0, "power": -1.0}, "expected power > 0"),
        ({"scale": 1.0, "start": 2.0}, "expected 0 < start <= 1.0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        times.theta(paths.vp_linear(), 4, **options)


def test_no_step_is_refused():
    with pytest.raises(UsageError, match="at least one step, got n=0"):
        times.theta(paths.vp_linear(), 0, scale=1.0)
