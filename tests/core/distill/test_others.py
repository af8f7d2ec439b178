"""Reflow and pairs, adversarial losses, discrepancies, high frequencies, the refiner, unrolled sampling."""

import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.distill import adversarial, distance, high_frequency, mmd, reflow
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.distill.refiner import refined, velocity_refinement
from fewstep.core.distill.segment import heun
from fewstep.core.distill.unrolled import unroll
from fewstep.core.errors import UsageError

from .gaussian import denoiser, draws, flow_map

PATHS = [paths.vp_linear(), paths.rectified_flow(), paths.ou(1.5, 0.05, 0.5)]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_pairs_lie_on_the_teachers_trajectories(path):
    y = torch.full((6, 3), 0.3, dtype=torch.float64)
    first = path.inverse(torch.tensor(-3.0, dtype=torch.float64)).clamp(max=path.t_max)
    grid = times.uniform_logsnr(path, 60, start=float(first))
    options = {"times": grid, "solver": solvers.dpmpp_2m(), "y": y, "dtype": torch.float64}
    eps, x0 = reflow.pairs(denoiser(path, y=y), path, shape=(6, 3), seeds=list(range(6)), **options)
    start = path.prior(eps, y, t=float(grid[0]))
    exact = flow_map(path, y=y)
    t, r = (torch.full((6,), float(v), dtype=torch.float64) for v in (grid[0], grid[-1]))
    torch.testing.assert_close(x0, exact(start, t, r), rtol=5e-3, atol=5e-3)
    alone, _ = reflow.pairs(denoiser(path, y=y[:1]), path, shape=(1, 3), seeds=[4], **options | {"y": y[:1]})
    torch.testing.assert_close(alone[0], eps[4])
    student = lambda x, t: exact(path.prior(eps, y), torch.full_like(t, path.t_max), t * 0)  # noqa: E731
    assert reflow.pair_distance(student, path, eps, student(eps, t), y=y).max() < 1e-12
    assert reflow.pair_distance(student, path, eps, student(eps, t) + 1, y=y).min() == pytest.approx(1)


def test_ends_are_asked_for_at_the_times_of_the_states():
    path, seen = paths.rectified_flow(), []
    x0, eps, t = torch.zeros(3, 2), torch.randn(3, 2), torch.tensor([1.0, 0.9, 0.5])

    def student(x, at):
        seen.append((x, at))
        return x0 + at[:, None]

    nets = Nets(student, student, student)
    loss = reflow.Ends().loss(nets, path, Items(x0, eps=eps, t=t), torch.Generator())
    torch.testing.assert_close(loss, t.square())
    assert torch.equal(seen[0][0], eps)
    assert torch.equal(seen[0][1], t)


def test_a_distance_that_wants_to_be_told_is_told():
    class Told:
        told = True

        def __call__(self, answer, target, mask=None, cond=None):
            return mask.sum(1) * cond["w"]

    items = Items(torch.zeros(2, 3), mask=torch.ones(2, 3), cond={"w": 5.0})
    assert items.measured(Told())(items.x0, items.x0).tolist() == [15.0, 15.0]
    told_nothing = items.measured(distance.mse)
    assert told_nothing(items.x0 + 2, items.x0).tolist() == [4.0, 4.0]


def test_reflow_is_the_error_of_the_velocity():
    path = paths.rectified_flow()
    t = torch.linspace(0.05, 0.95, 64, dtype=torch.float64)
    x, x0, eps, _ = draws(path, t)
    denoise = denoiser(path)
    v = (x - denoise(x, t)) / t[:, None]
    expected = (v - (eps - x0)).square().mean(dim=1)
    torch.testing.assert_close(reflow.reflow(denoise, path, eps, x0, t), expected)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_the_posterior_keeps_the_marginals(path):
    t, r = (torch.full((1,), v * path.t_max, dtype=torch.float64) for v in (0.8, 0.3))
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    part = lambda x0, y, first, second: adversarial.posterior(  # noqa: E731
        path, path.sample(x0, first, t, y), x0, t, r, second, y=y
    ).item()
    a, b, s = (value.item() for value in path.coefficients(r))
    assert part(one, zero, zero, zero) == pytest.approx(a)
    assert part(zero, one, zero, zero) == pytest.approx(b)
    assert part(zero, zero, one, zero) ** 2 + part(zero, zero, zero, one) ** 2 == pytest.approx(s * s)


def test_the_posterior_is_ddpms_step():
    path = paths.vp_linear()
    x, *_ = draws(path, 0.8)
    grid = torch.tensor([0.8, 0.3], dtype=torch.float64)
    seen = []
    sample(
        denoiser(path), path, times=grid, solver=solvers.ddpm(), x=x, generator=0,
        callback=lambda info: seen.append((info.x.clone(), info.denoised.clone())),
    )  # fmt: skip
    after, x0 = seen[0]
    t, r = (torch.full((len(x),), v, dtype=torch.float64) for v in grid.tolist())
    mean = adversarial.posterior(path, x, x0, t, r, torch.zeros_like(x))
    unit = adversarial.posterior(path, x * 0, x0 * 0, t, r, torch.ones_like(x))
    eps = (after - mean) / unit
    again = adversarial.posterior(path, x, x0, t, r, eps)
    torch.testing.assert_close(again, after)
    assert eps.std() == pytest.approx(1, abs=0.15)


def test_the_game_has_the_usual_losses():
    scores = torch.tensor([[-2.0], [0.0], [2.0]])
    torch.testing.assert_close(adversarial.generator_loss(scores), torch.log1p(torch.exp(-scores[:, 0])))
    loss = adversarial.discriminator_loss(scores, -scores)
    torch.testing.assert_close(loss, 2 * adversarial.generator_loss(scores))


def test_the_penalty_of_a_quadratic_judge():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    judge = lambda x_r, r, x: k / 2 * x_r.square().sum(dim=1)  # noqa: E731
    penalty = adversarial.gradient_penalty(judge, x, torch.zeros(5), x, gamma=0.4)
    torch.testing.assert_close(penalty, 0.2 * k**2 * x.square().sum(dim=1))
    penalty.sum().backward()
    assert k.grad == pytest.approx((0.4 * k * x.square().sum()).item())


@pytest.mark.parametrize("kernel", [mmd.polynomial, mmd.gaussian])
def test_the_discrepancy_is_unbiased_and_sees_a_difference(kernel):
    generator = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randn(n, 4, generator=generator, dtype=torch.float64)  # noqa: E731
    values = torch.stack([mmd.mmd2(draw(24), draw(24), kernel=kernel) for _ in range(400)])
    assert values.mean().abs() < 4 * values.std() / 20
    assert (values < 0).any()
    other = torch.stack([mmd.mmd2(draw(24), draw(24) + 1, kernel=kernel) for _ in range(20)])
    assert other.mean() > 10 * values.mean().abs()


def test_the_discrepancy_is_its_definition():
    x, y = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k = lambda a, b: float((a @ b / 3 + 1) ** 3)  # noqa: E731
    within = lambda z: sum(k(z[i], z[j]) for i in range(5) for j in range(5) if i != j) / 20  # noqa: E731
    between = sum(k(a, b) for a in x for b in y) / 25
    assert mmd.mmd2(x, y).item() == pytest.approx(within(x) + within(y) - 2 * between)
    for bad in (x[:1], x[:, :2], x[0]):
        with pytest.raises(UsageError, match="expected features"):
            mmd.mmd2(bad, y)


def test_high_frequencies_pass_and_low_ones_do_not():
    n = torch.arange(32, dtype=torch.float64)
    fast, slow = (-1.0) ** n, torch.cos(2 * torch.pi * n / 32)
    picture = lambda row: row.expand(1, 1, 32, 32)  # noqa: E731
    assert high_frequency.highpass(picture(torch.ones(32, dtype=torch.float64))).abs().max() < 1e-12
    torch.testing.assert_close(high_frequency.highpass(picture(fast)), picture(fast), rtol=1e-3, atol=1e-3)
    assert high_frequency.highpass(picture(slow)).abs().max() < 0.05
    zero = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    plain = distance.l1(picture(fast), zero)
    both = high_frequency.high_frequency(picture(fast), zero, weight=2.0)
    torch.testing.assert_close(both, 3 * plain, rtol=1e-2, atol=0)
    with pytest.raises(UsageError, match="cutoff in"):
        high_frequency.highpass(zero, cutoff=0.0)


def test_a_refiner_of_nothing_reuses_the_velocity():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.linspace(0.3, 0.9, 6, dtype=torch.float64)
    nothing = lambda x, t, v: torch.zeros_like(x)  # noqa: E731
    torch.testing.assert_close(refined(nothing, x)(x + 1, t), x)
    steady = lambda x, t: torch.ones_like(x)  # noqa: E731
    assert velocity_refinement(nothing, steady, x, t, t / 4).max() == 0
    rising = lambda x, t: t[:, None].expand_as(x)  # noqa: E731
    loss = velocity_refinement(nothing, rising, x, t, t / 4)
    torch.testing.assert_close(loss, (t / 4).square())
    exact = lambda x, t, v: t[:, None] - v  # noqa: E731
    assert velocity_refinement(exact, rising, x, t, t / 4).max() < 1e-30


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_unrolled_steps_are_samples_and_recomputing_changes_no_gradient(path):
    grid = times.uniform(path, 3)
    x, *_, y = draws(path, float(grid[0]), with_y=True)
    weight = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    denoise = lambda x, t: weight * denoiser(path, y=y)(x, t)  # noqa: E731
    slopes = []
    for recompute in (False, True):
        end = unroll(denoise, path, x, grid, y=y, recompute=recompute)
        slopes.append(torch.autograd.grad(end.square().sum(), weight)[0])
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-12, atol=1e-12)
    plain = sample(denoise, path, times=grid, solver=solvers.ddim(), x=x, y=y).x
    torch.testing.assert_close(end.detach(), plain, rtol=1e-9, atol=1e-9)
    assert torch.isfinite(unroll(denoise, path, x, grid, y=y, step=heun)).all()
