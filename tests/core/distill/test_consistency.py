import itertools

import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill import distance
from fewstep.core.distill.consistency import (
    bounded,
    consistency_distillation,
    consistency_training,
    neighbours,
    steps_at,
)

from .gaussian import MEAN, VARIANCE, denoiser, draws, flow_map

PATHS = [paths.vp_linear(), paths.rectified_flow(), paths.ou(1.5, 0.05, 0.5), paths.edm()]


def to_data(path, t_min, y=None, shift=0.0):
    """The exact consistency function: to t_min along the ODE, then the clean part u/a there."""

    def f(x, t):
        end = torch.full_like(t, t_min)
        a, b, _ = path.broadcast(path.coefficients(end), x)
        moved = flow_map(path, y=y)(x, t, end)
        return (moved if y is None else moved - b * y) / a + shift * (t - t_min).reshape(-1, 1)

    return f


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_the_boundary_is_exact_and_pure_noise_is_the_nets_affair(path):
    t_min = 0.01 * path.t_max
    at = torch.full((64,), t_min, dtype=torch.float64)
    x, _, _, y = draws(path, t_min, with_y=True)
    f = bounded(lambda x, t: torch.full_like(x, 9.0), path, sigma_data=0.6, t_min=t_min, y=y)
    a, b, _ = path.broadcast(path.coefficients(at), x)
    torch.testing.assert_close(f(x, at), (x - b * y) / a, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(f(x, at / 2), f(x, at))
    far = f(x, torch.full_like(at, path.t_max))
    assert torch.isfinite(far).all()
    if float(path.coefficients(path.t_max)[0]) < 1e-2:
        assert (far - 9).abs().max() < 0.05


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_distillation_rests_at_the_exact_map_and_nowhere_else(path):
    t_min = 0.02 * path.t_max
    t = torch.linspace(0.2, 1.0, 64, dtype=torch.float64) * path.t_max
    x, _, _, y = draws(path, t, with_y=True)
    exact = lambda denoise, path, x, t, r, y: flow_map(path, y=y)(x, t, r)  # noqa: E731
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    losses = {}
    for wrong in (0.0, 0.3):
        student = to_data(path, t_min, y, shift + wrong)
        target = to_data(path, t_min, y, wrong)
        loss = consistency_distillation(
            student, target, denoiser(path, y=y), path, x, t, 0.8 * t, y=y, step=exact
        ).mean()
        (slope,) = torch.autograd.grad(loss, shift)
        losses[wrong] = (loss.item(), abs(slope.item()))
    assert max(losses[0.0]) < 1e-20 + 1e-12 * path.t_max
    assert min(losses[0.3]) > 1e-6


def test_a_table_of_lines_learns_the_gaussian_map_from_its_boundary_upwards():
    """A student that is affine at each time of the grid: slope and offset to 1e-2 within 500 iterations."""
    path = paths.rectified_flow()
    grid = torch.linspace(1, 0.02, 9, dtype=torch.float64)
    slope, offset = torch.ones(9, dtype=torch.float64), torch.zeros(9, dtype=torch.float64)
    slope[-1] = 1 / path.coefficients(grid[-1])[0]
    slope, offset = slope.requires_grad_(), offset.requires_grad_()
    held = torch.ones(9, dtype=torch.float64)
    held[-1] = 0  # the boundary is given

    def student(x, t, frozen=False):
        i = torch.searchsorted(-grid, -t).clamp(max=8)
        k, c = (slope.detach(), offset.detach()) if frozen else (slope, offset)
        return k[i, None] * x + c[i, None]

    exact = lambda denoise, path, x, t, r, y: flow_map(path)(x, t, r)  # noqa: E731
    optimizer = torch.optim.Adam([slope, offset], lr=0.05)
    generator = torch.Generator().manual_seed(0)
    for iteration in range(500):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - iteration / 500)
        t, r = neighbours(grid, 256, generator, "cpu")
        x, *_ = draws(path, t, n=256, seed=iteration)
        loss = consistency_distillation(
            student, lambda x, t: student(x, t, True), None, path, x, t, r, step=exact
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        for value in (slope, offset):
            value.grad *= held
        optimizer.step()
    a, _, s = path.coefficients(grid[-1])
    ratio = torch.sqrt(a * a * VARIANCE + s * s) / a  # of the end at t_min, to pure noise
    assert slope[0].item() == pytest.approx(ratio.item(), abs=1e-2)
    assert offset[0].item() == pytest.approx(MEAN, abs=1e-2)
    assert ratio > VARIANCE**0.5  # the little noise at t_min is part of it


def test_training_without_a_teacher_agrees_on_data_that_is_one_point():
    """With one possible x0 the same noise at two times lies on one trajectory, so both losses are 0 at the map."""
    path = paths.edm()
    x0 = torch.full((8, 3), 0.4, dtype=torch.float64)
    eps = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.linspace(1, 5, 8, dtype=torch.float64)
    answer = lambda x, t: torch.full_like(x, 0.4)  # noqa: E731
    assert consistency_training(answer, answer, path, x0, eps, t, t / 2).abs().max() < 1e-12
    wrong = lambda x, t: 0.4 + 0.01 * x  # noqa: E731
    assert consistency_training(wrong, answer, path, x0, eps, t, t / 2).min() > 0


def test_the_target_gets_no_gradient():
    path = paths.edm()
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    t = torch.ones(4, dtype=torch.float64)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = consistency_distillation(lambda x, t: x, lambda x, t: weight * x, denoiser(path), path, x, t, t / 2)
    assert not loss.requires_grad


def test_the_number_of_steps_doubles():
    counts = [steps_at(i, 800) for i in range(801)]
    assert counts[0] == 10
    assert counts[-1] == 1280
    assert all(b in (a, 2 * a) for a, b in itertools.pairwise(counts))


def test_neighbours_are_neighbours():
    grid = torch.tensor([1.0, 0.7, 0.2, 0.1])
    t, r = neighbours(grid, 100, torch.Generator().manual_seed(0), "cpu")
    seen = set(zip(t.tolist(), r.tolist(), strict=True))
    assert seen == set(zip(grid.tolist(), grid.tolist()[1:], strict=False))


@pytest.mark.parametrize("measure", [distance.mse, distance.l1, distance.pseudo_huber])
def test_distances_are_means_per_item_and_spare_the_target(measure):
    answer = torch.randn(3, 4, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.zeros_like(answer, requires_grad=True)
    out = measure(answer, target)
    assert out.shape == (3,)
    assert (out > 0).all()
    torch.testing.assert_close(out, measure(answer.repeat(1, 1, 2), target.repeat(1, 1, 2)))
    assert measure(answer, answer.detach()).abs().max() < 1e-12
    out.sum().backward()
    assert target.grad is None
