import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill import distribution, tdm
from fewstep.core.errors import UsageError

from .gaussian import MEAN, VARIANCE, denoiser, draws

PATHS = [paths.vp_linear(), paths.rectified_flow(), paths.ou(1.5, 0.05, 0.5)]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_no_pull_where_the_laws_agree_and_towards_the_data_where_not(path):
    t = torch.linspace(0.1, 0.9, 64, dtype=torch.float64) * path.t_max
    _, x0, eps, y = draws(path, 0.5, with_y=True)
    real = denoiser(path, y=y)
    for shift in (0.0, 0.5, -0.5):
        offset = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
        fake = denoiser(path, mean=MEAN + shift, y=y)
        loss = distribution.distribution_matching(x0 + offset, real, fake, path, eps, t, y=y).mean()
        (slope,) = torch.autograd.grad(loss, offset)
        assert abs(slope) < 1e-12 if shift == 0 else slope * shift > 0


def test_descent_leads_to_the_teachers_law():
    """A generator m + k z, with the fake denoiser exact for its current law, finds mean and standard deviation."""
    path = paths.vp_linear()
    m, k = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (-0.5, 1.3))
    optimizer = torch.optim.Adam([m, k], lr=0.05)
    generator = torch.Generator().manual_seed(0)
    for iteration in range(400):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - iteration / 400)
        z, eps = torch.randn(2, 256, 2, generator=generator, dtype=torch.float64)
        t = 0.02 + 0.96 * torch.rand(256, generator=generator, dtype=torch.float64)
        fake = denoiser(path, mean=m.item(), variance=k.item() ** 2)
        loss = distribution.distribution_matching(m + k * z, denoiser(path), fake, path, eps, t).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert m.item() == pytest.approx(MEAN, abs=2e-2)
    assert abs(k.item()) == pytest.approx(VARIANCE**0.5, abs=3e-2)


def test_a_gradient_that_is_not_finite_is_none():
    x0 = torch.zeros(2, 3)
    real = torch.tensor([[0.1, float("nan"), 0.2], [0.0, 0.0, 0.0]])
    away = distribution.gradient(x0, real, torch.ones(2, 3))
    assert torch.isfinite(away).all()


def test_the_fake_denoiser_learns_the_generators_law_and_not_the_generator():
    path = paths.vp_linear()
    x0 = torch.full((8, 3), 0.2, dtype=torch.float64, requires_grad=True)
    eps = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    assert distribution.denoising(lambda x, t: torch.full_like(x, 0.2), x0, path, eps, t).abs().max() < 1e-15
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = distribution.denoising(lambda x, t: weight * x, x0, path, eps, t)
    loss.sum().backward()
    assert x0.grad is None
    assert weight.grad is not None
    plain = (path.sample(x0, eps, t) - x0).square().mean(dim=1)
    weights = (loss / plain).detach()
    assert ((weights >= 1 - 1e-9) & (weights <= 5 + 1e-9)).all()
    assert weights[0] == pytest.approx(5)
    assert weights[-1] == pytest.approx(1)


def test_the_way_back_ends_at_the_teacher():
    way = [distribution.backtrack(i, stages=3, every=10) for i in range(60)]
    assert way[:10] == [0] * 10
    assert way[-30:] == [3] * 30
    assert sorted(way) == way
    with pytest.raises(UsageError, match="every >= 1"):
        distribution.backtrack(0, stages=1, every=0)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_renoising_a_marginal_gives_the_later_marginal(path):
    """Mean exactly, variance by its two parts: linear in x0, y and two noises."""
    mid, t = (torch.full((1,), v * path.t_max, dtype=torch.float64) for v in (0.3, 0.8))
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    part = lambda x0, y, first, second: tdm.renoise(  # noqa: E731
        path, path.sample(x0, first, mid, y), mid, t, second, y=y
    ).item()
    a, b, s = (value.item() for value in path.coefficients(t))
    assert part(one, zero, zero, zero) == pytest.approx(a)
    assert part(zero, one, zero, zero) == pytest.approx(b)
    assert part(zero, zero, one, zero) ** 2 + part(zero, zero, zero, one) ** 2 == pytest.approx(s * s)


def test_a_trajectory_student_has_its_gradient_in_one_step():
    path = paths.vp_linear()
    grid = torch.tensor([1.0, 0.7, 0.4, 0.0], dtype=torch.float64)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    calls = []

    def student(x, t):
        calls.append((float(t[0]), torch.is_grad_enabled()))
        return denoiser(path)(x, t)

    answer = tdm.roll(student, path, x, grid, 1)
    assert calls == [(1.0, False), (0.7, True)]
    assert (answer.t_mid == 0.4).all()
    eps = torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = torch.full((4,), 0.9, dtype=torch.float64)
    same = tdm.trajectory_matching(answer, denoiser(path), denoiser(path), path, eps, t)
    assert same.abs().max() < 1e-12
    moved = tdm.trajectory_matching(answer, denoiser(path), denoiser(path, mean=2.0), path, eps, t)
    assert moved.min() > 0
    with pytest.raises(UsageError, match=r"expected a step of 0 \.\. 2"):
        tdm.roll(student, path, x, grid, 3)
