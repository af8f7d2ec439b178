import math

import pytest
import torch

from fewstep.core import paths, sample, solvers
from fewstep.core.distill.segment import ddim, heun, jump, walk
from fewstep.core.errors import UsageError

from .gaussian import denoiser, draws, flow_map

PATHS = [paths.vp_linear(), paths.rectified_flow(), paths.ou(1.5, 0.05, 0.5), paths.edm(), paths.ir_sde()]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_a_walk_of_ddim_steps_is_what_sample_does(path):
    grid = torch.linspace(1, 0, 5, dtype=torch.float64) * path.t_max * 0.9
    x, *_, y = draws(path, float(grid[0]), with_y=True)
    denoise = denoiser(path, y=y)
    ours = walk(denoise, path, x, grid.expand(len(x), -1), y)
    theirs = sample(denoise, path, times=grid, solver=solvers.ddim(), x=x, y=y).x
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("step", "order"), [(ddim, 1), (heun, 2)], ids=["ddim", "heun"])
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_order_on_gaussian_data(path, step, order):
    ends = path.inverse(torch.tensor([-1.0, 1.5], dtype=torch.float64))
    ends[0] = ends[0].clamp(max=path.t_max)
    x, *_, y = draws(path, float(ends[0]), with_y=True)
    denoise, exact = denoiser(path, y=y), flow_map(path, y=y)(x, *ends)
    errors = []
    for n in (24, 48):
        lam = torch.linspace(*path.lam(ends).tolist(), n + 1, dtype=torch.float64)
        grid = path.inverse(lam).clamp(max=float(ends[0]))
        errors.append((walk(denoise, path, x, grid.expand(len(x), -1), y, step=step) - exact).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.12)


def test_heun_is_exact_on_data_of_its_own_size_and_falls_back_at_the_end():
    path = paths.vp_linear()
    x, *_ = draws(path, 0.8)
    t, r, zero = (torch.full((len(x),), v, dtype=torch.float64) for v in (0.8, 0.2, 0.0))
    denoise = denoiser(path, mean=0.0, variance=0.25)
    step = heun(denoise, path, x, t, r, sigma_data=0.5)
    torch.testing.assert_close(step, flow_map(path, 0.0, 0.25)(x, t, r), rtol=1e-9, atol=1e-9)
    last = heun(denoise, path, x, t, zero)
    torch.testing.assert_close(last, ddim(denoise, path, x, t, zero))


def test_times_differ_between_items():
    path = paths.rectified_flow()
    x, *_ = draws(path, 0.6, n=3)
    t, r = torch.tensor([0.9, 0.5, 0.3]), torch.tensor([0.4, 0.5, 0.0])
    together = jump(path, x, x.tanh(), t, r)
    for i in range(3):
        alone = jump(path, x[i : i + 1], x[i : i + 1].tanh(), t[i : i + 1], r[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
    torch.testing.assert_close(together[1], x[1])
    torch.testing.assert_close(together[2], x[2].tanh())


def test_a_walk_does_not_climb():
    path = paths.rectified_flow()
    with pytest.raises(UsageError, match="do not rise"):
        walk(denoiser(path), path, torch.zeros(1, 2), torch.tensor([[0.5, 0.7]]))
