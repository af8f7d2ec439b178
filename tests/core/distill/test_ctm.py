import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill.ctm import ctm_distillation, leap, three_times

from .gaussian import denoiser, draws, flow_map

PATHS = [paths.vp_linear(), paths.rectified_flow(), paths.ou(1.5, 0.05, 0.5), paths.edm()]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_a_leap_to_where_it_stands_is_no_leap(path):
    t = torch.linspace(0.1, 1.0, 64, dtype=torch.float64) * path.t_max
    x, _, _, y = draws(path, t, with_y=True)
    go = leap(lambda x, t, r: torch.sin(x) + 3, path, y)
    torch.testing.assert_close(go(x, t, t), x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(go(x, t, t * 0), torch.sin(x) + 3, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_the_loss_rests_at_the_flow_map(path):
    t = torch.linspace(0.3, 1.0, 64, dtype=torch.float64) * path.t_max
    x, _, _, y = draws(path, t, with_y=True)
    exact, zero = flow_map(path, y=y), torch.zeros((), dtype=torch.float64, requires_grad=True)
    bent = lambda x, t, r: exact(x, t, r) + zero * (t - r).reshape(-1, 1)  # noqa: E731
    loss = ctm_distillation(bent, exact, exact, x, t, 0.7 * t, 0.4 * t).mean()
    (slope,) = torch.autograd.grad(loss, zero)
    assert loss < 1e-20
    assert slope.abs() < 1e-9
    off = lambda x, t, r: exact(x, t, r) + 0.1 * (t - r).reshape(-1, 1)  # noqa: E731
    assert ctm_distillation(off, exact, exact, x, t, 0.7 * t, 0.4 * t).min() > 1e-6


def test_gradient_reaches_the_student_only():
    path = paths.rectified_flow()
    t = torch.full((64,), 0.9, dtype=torch.float64)
    x, *_ = draws(path, 0.9)
    ours, average = (torch.tensor(0.5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    go = lambda w: leap(lambda x, t, r: w * x, path)  # noqa: E731
    frozen = lambda x, t, r: go(average.detach())(x, t, r)  # noqa: E731
    segment = lambda x, t, u: flow_map(path)(x, t, u)  # noqa: E731
    ctm_distillation(go(ours), frozen, segment, x, t, t / 2, t / 3).mean().backward()
    assert ours.grad.abs() > 0
    assert average.grad is None


def test_three_times_are_ordered_and_reach_everywhere():
    grid = torch.linspace(1, 0, 6)
    t, u, r = three_times(grid, 2000, torch.Generator().manual_seed(0), "cpu")
    assert ((t > u) & (u >= r)).all()
    for drawn, expected in ((t, grid[:-1]), (u, grid[1:]), (r, grid[1:])):
        assert set(drawn.tolist()) == set(expected.tolist())


def test_teacher_segments_may_be_solver_steps():
    from fewstep.core.distill.segment import heun

    path = paths.edm()
    t = torch.full((64,), 2.0, dtype=torch.float64)
    x, *_ = draws(path, 2.0)
    segment = lambda x, t, u: heun(denoiser(path), path, x, t, u, sigma_data=0.6)  # noqa: E731
    exact = flow_map(path)
    assert ctm_distillation(exact, exact, segment, x, t, 0.95 * t, 0.5 * t).max() < 1e-5
