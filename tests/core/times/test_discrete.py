"""Nets of N timesteps: the grid, the solver and the net speak of the same noise."""

import pytest
import torch

from fewstep.core import parameterize, paths, sample, solvers, times
from fewstep.core.errors import UsageError

TABLE = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
PATH = paths.vp_table(TABLE)


def told(grid, dtype=torch.float32, **options):
    """The timesteps that a net is told along a grid."""
    seen = []

    def net(x, t):
        seen.append(t[0].item())
        return torch.zeros_like(x)

    denoise = parameterize.eps(net, PATH, net_time=times.timesteps(PATH, **options))
    sample(denoise, PATH, times=grid, solver=solvers.ddim(), shape=(1, 2), generator=0, dtype=dtype)
    return seen


def test_trailing_and_leading_are_the_published_timesteps():
    assert told(times.trailing(PATH, 10), integer=True) == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert told(times.leading(PATH, 10), integer=True) == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]
    assert told(times.trailing(PATH, 3), integer=True) == [999, 666, 332]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_timestep_is_told_in_any_precision(dtype):
    grid = times.trailing(PATH, 1000)
    assert told(grid, dtype, integer=True) == list(range(999, -1, -1))
    assert told(grid, dtype) == pytest.approx(range(999, -1, -1), abs=1e-3)


def test_solver_and_net_agree_on_the_noise():
    grid = times.trailing(PATH, 7)
    a, _, s = PATH.coefficients(grid[:-1])
    index = times.timesteps(PATH, integer=True)(grid[:-1])
    torch.testing.assert_close(a, TABLE.sqrt()[index])
    torch.testing.assert_close(s, (1 - TABLE).sqrt()[index])


def test_snap_moves_the_grid_onto_the_nets_times():
    grid = times.snap(PATH, times.karras(PATH, 12))
    assert grid[-1] == 0
    index = grid[:-1] * 1000
    torch.testing.assert_close(index, index.round(), rtol=0, atol=1e-9)
    assert (grid[:-1] - times.karras(PATH, 12)[:-1]).abs().max() <= 0.5e-3 + 1e-12
    assert float(times.snap(PATH, torch.tensor([0.5, 1e-5]))[-1]) == 1e-3


def test_between_timesteps_the_index_is_fractional():
    assert float(times.timesteps(PATH)(torch.tensor(0.5005))) == pytest.approx(499.5, abs=1e-3)
    assert float(times.timesteps(PATH)(torch.tensor(0.0))) == 0


def test_errors():
    with pytest.raises(UsageError, match="was not trained at timesteps"):
        times.trailing(paths.vp_linear(), 5)
    with pytest.raises(UsageError, match="1 to 1000 steps, got n=1001"):
        times.leading(PATH, 1001)
    with pytest.raises(UsageError, match="fall on one of the 1000 timesteps"):
        times.snap(PATH, times.karras(PATH, 200))
