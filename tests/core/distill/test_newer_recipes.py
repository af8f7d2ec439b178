"""Trajectories, consistency training, GANs, refiners, unrolled steps, the way back: what holds for each."""

import copy

import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.distill import distance
from fewstep.core.distill.adversarial import Adversarial
from fewstep.core.distill.beside import Beside, PairJudge, VelocityRefiner
from fewstep.core.distill.consistency import ConsistencyTraining
from fewstep.core.distill.ctm import ConsistencyTrajectory
from fewstep.core.distill.features import RandomFeatures
from fewstep.core.distill.high_frequency import HighFrequency
from fewstep.core.distill.progressive import Progressive
from fewstep.core.distill.recipe import Items, JudgedRecipe, Nets, Recipe, grid
from fewstep.core.distill.refiner import Refined, Refinement, velocity_on
from fewstep.core.distill.reflow import Reflow
from fewstep.core.distill.relay import Relay
from fewstep.core.distill.segment import ddim
from fewstep.core.distill.tdm import Answer, diffused
from fewstep.core.distill.unrolled import Unrolled
from fewstep.core.errors import UsageError

from .gaussian import VARIANCE, denoiser, draws, flow_map

PATHS = [paths.vp_linear(), paths.rectified_flow(), paths.ou(1.5, 0.05, 0.5)]
SIGMA = VARIANCE**0.5


def seeded(n=0):
    return torch.Generator().manual_seed(n)


def items(n=32, with_y=False, **more):
    _, x0, eps, y = draws(PATHS[1], torch.full((n,), 0.5, dtype=torch.float64), n=n, with_y=with_y)
    return Items(x0, y, eps, **more)


def two_times(path, y=None):
    """The x0 on whose line the exact flow lies: the optimum of a student of two times."""
    carry, denoise = flow_map(path, y=y), denoiser(path, y=y)

    def answer(x, t, r=None, w=None, z=None):
        r = torch.zeros_like(t) if r is None else r
        (a, b, s), (a_r, b_r, s_r) = (path.broadcast(path.coefficients(time), x) for time in (t, r))
        u, u_r = (x, carry(x, t, r)) if y is None else (x - b * y, carry(x, t, r) - b_r * y)
        line = a_r - s_r / s * a
        leaps = line.abs() > 1e-9
        return torch.where(leaps, (u_r - s_r / s * u) / torch.where(leaps, line, 1.0), denoise(x, t))

    return answer


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_trajectories_rest_at_the_flow(path):
    """With the exact flow as the teacher's step the exact student has no loss, wherever t, u and r fall."""
    batch = items(256, with_y=path.key.startswith("ou"))
    exact = flow_map(path, y=batch.y)
    recipe = ConsistencyTrajectory(SIGMA, steps=6, leaps=3, step=lambda d, p, x, t, r, y: exact(x, t, r))
    best = two_times(path, batch.y)
    loss = recipe.loss(Nets(best, best, denoiser(path, y=batch.y)), path, batch, seeded())
    assert loss.shape == (256,)
    assert loss.max() < 1e-6
    wrong = lambda x, t, r=None, w=None: best(x, t, r) + 0.1  # noqa: E731
    assert recipe.loss(Nets(wrong, best, denoiser(path)), path, batch, seeded()).mean() > 1e-5


def test_guidance_weights_reach_teacher_and_student():
    path, batch, asked = PATHS[1], items(), []

    def guided(w):
        asked.append(("teacher", w))
        return denoiser(path)

    def student(x, t, r=None, w=None):
        asked.append(("student", w))
        return x

    recipe = ConsistencyTrajectory(SIGMA, steps=4, step=ddim, guidance=[1.0, 7.0])
    assert recipe.told.inputs == 2
    recipe.loss(Nets(student, student, denoiser(path), guided=guided), path, batch, seeded())
    weights = asked[0][1]
    assert 1 <= weights.min() < weights.max() <= 7
    assert all(torch.equal(w, weights) for _, w in asked)
    with pytest.raises(UsageError, match="batches need 'uncond'"):
        recipe.loss(Nets(student, student, denoiser(path)), path, batch, seeded())


def test_trajectories_may_learn_the_data_too():
    path, batch = PATHS[1], items()
    best = two_times(path)
    nets = Nets(best, best, denoiser(path))
    without, both = (
        ConsistencyTrajectory(SIGMA, steps=6, denoising=weight).loss(nets, path, batch, seeded()) for weight in (0, 1)
    )
    assert (both > without).all()


def test_consistency_training_refines_its_grid():
    path = PATHS[0]
    recipe = ConsistencyTraining(SIGMA, total=100, first=2, last=16)
    asked = []
    net = lambda x, t: asked.append(t) or x * 0.5  # noqa: E731
    for iteration, steps in ((0, 2), (60, 8), (10_000, 16)):
        asked.clear()
        recipe.loss(Nets(net, net, net), path, items(512, iteration=iteration), seeded())
        assert len(torch.cat(asked).unique()) == steps + 1
    boundary = recipe.read(net, path)
    x, t = torch.ones(3, 2), torch.full((3,), path.t_min)
    torch.testing.assert_close(boundary(x, t), x / path.coefficients(t)[0][:, None])


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_each_part_of_the_gan_moves_its_own_net(path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge, weight = PairJudge(5, dims=0, width=8).double(), torch.tensor(0.5, requires_grad=True)
    recipe, batch = Adversarial(2, latent=0, data_weight=0.5), items(with_y=path.key.startswith("ou"))
    nets = Nets(lambda x, t: weight * x, None, None, judge=judge)
    assert isinstance(recipe, JudgedRecipe)
    assert recipe.told is None
    loss = recipe.judge_loss(nets, path, batch, seeded())
    loss.mean().backward()
    assert loss.shape == (32,)
    assert weight.grad is None
    assert all(value.grad is not None for value in judge.parameters())
    judge.zero_grad()
    recipe.loss(nets, path, batch, seeded()).mean().backward()
    assert weight.grad.abs() > 0
    with pytest.raises(UsageError, match="needs a `judge`"):
        recipe.loss(Nets(nets.student, None, None), path, batch, seeded())


def test_the_penalty_comes_now_and_then_and_a_student_hears_its_latent():
    path, heard = PATHS[0], []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = PairJudge(5, dims=0, width=8).double()
    nets = Nets(lambda x, t, z=None: heard.append(z) or x, None, None, judge=judge)
    recipe, free = Adversarial(2, gamma=5.0, every=3, latent=4), Adversarial(2, gamma=0.0, latent=4)
    for iteration in range(4):
        batch = items(iteration=iteration)
        more = recipe.judge_loss(nets, path, batch, seeded()) - free.judge_loss(nets, path, batch, seeded())
        assert (more.abs().max() > 1e-9) == (iteration % 3 == 0)
    assert heard[0].shape == (32, 4)
    assert recipe.told.latent == 4


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_a_refined_sampler_is_the_teachers_where_the_teacher_is_asked(path):
    x, *_, y = draws(path, path.t_max, with_y=path.key.startswith("ou"))
    teacher, grid = denoiser(path, y=y), times.uniform(path, 4, end=path.t_min)
    go = lambda denoise: sample(denoise, path, times=grid, solver=solvers.ddim(), x=x, y=y).x  # noqa: E731
    nothing = Refined(torch.nn.Identity(), VelocityRefiner(5, dims=0).double())
    plain = go(teacher)
    reading = nothing.reading(teacher, path, full=4, y=y)
    torch.testing.assert_close(go(reading), plain, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(go(reading), plain, rtol=1e-9, atol=1e-9)  # a second run begins anew
    reused = go(nothing.reading(teacher, path, full=1, y=y))
    assert torch.isfinite(reused).all()
    assert (reused - plain).abs().max() > 1e-3
    t = torch.full((len(x),), path.t_max, dtype=torch.float64)
    carry, dt = flow_map(path, y=y), 1e-5
    slope = (carry(x, t, t) - carry(x, t, t - dt)) / dt
    torch.testing.assert_close(velocity_on(path, teacher, y)(x, t), slope, rtol=1e-3, atol=1e-3)


def test_the_refiner_learns_the_change_of_velocity():
    path, batch = PATHS[1], items()
    silent = Nets(None, None, denoiser(path), refine=lambda x, t, v: torch.zeros_like(v))
    assert Refinement(reach=0.3).loss(silent, path, batch, seeded()).mean() > 1e-5
    exact = velocity_on(path, denoiser(path))
    best = Nets(None, None, denoiser(path), refine=lambda x, t, v: exact(x, t) - v)
    assert Refinement(reach=0.3).loss(best, path, batch, seeded()).max() < 1e-20
    with pytest.raises(UsageError, match="trains a `refiner`"):
        Refinement().loss(Nets(None, None, denoiser(path)), path, batch, seeded())


def test_unrolled_steps_learn_pairs_or_data():
    path = PATHS[1]
    batch = items()
    nets = Nets(lambda x, t: x * 0.5, None, None)
    assert Unrolled(2).loss(nets, path, batch, seeded()).shape == (32,)
    with pytest.raises(UsageError, match="learns from pairs"):
        Unrolled(2).loss(nets, path, Items(batch.x0), seeded())
    assert isinstance(Unrolled(2, pairs=False), Recipe)
    exact = Nets(lambda x, t: batch.x0, None, None)
    for pairs in (True, False):
        assert Unrolled(3, pairs=pairs).loss(exact, path, batch, seeded()).max() < 1e-12


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
def test_the_fake_denoiser_rests_at_the_law_of_the_diffused_states(path):
    n = 20_000
    middle, later = (torch.full((n,), value * path.t_max, dtype=torch.float64) for value in (0.3, 0.7))
    x_mid, x0, _, y = draws(path, middle, n=n, d=1, with_y=path.key.startswith("ou"))
    answer, eps = Answer(x0, middle, x_mid), torch.randn(n, 1, generator=seeded(5), dtype=torch.float64)
    errors = []
    for mean in (0.7, 0.9):  # the law's own, and another
        shift = torch.zeros(n, 1, dtype=torch.float64, requires_grad=True)
        fake = lambda x, t, m=mean, s=shift: denoiser(path, mean=m, y=y)(x, t) + s  # noqa: E731
        slopes = torch.autograd.grad(diffused(fake, answer, path, eps, later, y=y).sum(), shift)[0]
        errors.append(float(slopes.mean() / slopes.std() * n**0.5))
    assert abs(errors[0]) < 4 < abs(errors[1])


def test_high_frequencies_weigh_more():
    path, batch = PATHS[1], items()
    wave = 0.1 * (-1.0) ** torch.arange(5, dtype=torch.float64)
    fine, flat = (Nets(lambda x, t, d=d: batch.x0 + d, None, None) for d in (wave, torch.full((5,), 0.1)))
    recipe = HighFrequency(weight=3.0, dims=1)
    losses = [recipe.loss(nets, path, batch, seeded()).mean() for nets in (fine, flat)]
    assert losses[0] > 2 * losses[1]


def test_the_way_back_is_the_way_there_reversed():
    recipe = Relay(snapshots=2, degrade=6, every=3)
    turns = [recipe.turn(i) for i in range(14)]
    assert [turn.learns for turn in turns] == [False] * 6 + [True] * 8
    assert [turn.keep for turn in turns[:6]] == [None, None, 0, None, None, 1]
    assert [turn.target for turn in turns[6:]] == [1, 1, 1, 0, 0, 0, None, None]
    for wrong in ({"snapshots": 4, "degrade": 6}, {"every": 0}, {"degrade": 0}):
        with pytest.raises(UsageError, match="multiple of snapshots"):
            Relay(**wrong)


def test_distances_leave_padding_out():
    answer, target = torch.randn(2, 4, 3, 6, generator=seeded())
    mask = torch.arange(6) < torch.tensor([6, 4, 2, 1])[:, None, None]
    for measure in (distance.mse, distance.l1, distance.pseudo_huber):
        kept = Items(target, mask=mask).measured(measure)(answer, target)
        alone = torch.stack(
            [measure(a[None, :, :n], b[None, :, :n])[0] for a, b, n in zip(answer, target, (6, 4, 2, 1), strict=True)]
        )
        torch.testing.assert_close(kept, alone)
        noisy = torch.where(mask, answer, 1e6)
        torch.testing.assert_close(Items(target, mask=mask).measured(measure)(noisy, target), kept)
        assert Items(target).measured(measure) is measure


def test_a_student_may_have_times_of_its_own():
    path, batch, asked = PATHS[0], items(200), []
    own = [1.0, 0.4, 0.1, 0.0]
    nets = Nets(lambda x, t: asked.append(t) or x, None, denoiser(path))
    Progressive(3, times=own).loss(nets, path, batch, seeded())
    torch.testing.assert_close(asked[0].unique(), torch.tensor([0.1, 0.4, 1.0]))
    torch.testing.assert_close(grid(path, 3, own), torch.tensor(own))
    torch.testing.assert_close(grid(path, 2), torch.tensor([1.0, 0.5, 0.0]))
    with pytest.raises(UsageError, match="at least one step"):
        grid(path, 0)
    for wrong in ([1.0, 0.5], [1.0, 1.0, 0.0], [0.5, 0.7, 0.0], [1.5, 0.5, 0.0], [1.0, 0.5, -0.1]):
        with pytest.raises(UsageError, match="expected 3 falling times"):
            grid(path, 2, wrong)


def test_the_weight_of_a_flow_may_be_limited():
    path, batch = PATHS[0], items(256)
    nets = Nets(lambda x, t: torch.zeros_like(x), None, None)
    losses = [Reflow(limit=limit).loss(nets, path, batch, seeded()).max() for limit in (None, 1.0)]
    assert losses[0] > 100 * losses[1]
    assert losses[1] <= batch.x0.square().mean(dim=1).max() + 1e-9


def test_small_nets_have_the_shapes_that_they_say():
    for dims, shape in ((0, ()), (1, (7,)), (2, (6, 4)), (3, (4, 4, 2))):
        x, v = torch.randn(2, 3, 2, *shape, generator=seeded())
        t = torch.rand(3, generator=seeded())
        assert PairJudge(2, dims=dims, width=8)(x, t, v).shape == (3, 1, *shape)
        assert VelocityRefiner(2, dims=dims, width=8)(x, t, v).abs().max() == 0
    with pytest.raises(UsageError, match="positive sizes"):
        Beside(2, 0)
    with pytest.raises(UsageError, match="dims 0..3"):
        Beside(2, 1, dims=4)


def test_random_features_tell_pictures_apart():
    features, pictures = RandomFeatures(), torch.rand(4, 3, 16, 24, generator=seeded()).requires_grad_(True)
    found = features(pictures)
    torch.testing.assert_close(found, RandomFeatures()(pictures), rtol=0, atol=0)
    assert not torch.equal(found, RandomFeatures(seed=1)(pictures))
    found.sum().backward()
    assert (pictures.grad.abs() > 0).any()
    for wrong in (torch.zeros(4, 3, 16), torch.zeros(4, 3, 8, 16), torch.zeros(4, 1, 16, 16, dtype=torch.complex64)):
        with pytest.raises(UsageError, match="expected real pictures"):
            features(wrong)


def test_a_linear_student_of_two_times_recovers_gaussian_data():
    """Slope and offset of the whole leap."""
    path = paths.vp_linear()

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.values = torch.nn.Parameter(torch.tensor([0.2, 0.0], dtype=torch.float64))

        def forward(self, x, t, r=None, w=None):
            exact = two_times(path)(x, t, r)
            last = (t == path.t_max).reshape(-1, 1)  # linear where the student leaps from the prior, exact elsewhere
            return torch.where(last, self.values[0] * x + self.values[1], exact)

    student = Linear()
    recipe, generator = (
        ConsistencyTrajectory(SIGMA, steps=1, leaps=1, step=lambda d, p, x, t, r, y: flow_map(p)(x, t, r)),
        seeded(),
    )
    optimizer = torch.optim.Adam(student.parameters(), 0.05)
    for i in range(300):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - i / 300)
        nets = Nets(student, copy.deepcopy(student), denoiser(path))
        loss = recipe.loss(nets, path, items(64), generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    t, r = (torch.full((2,), value, dtype=torch.float64) for value in (path.t_max, path.t_min))
    exact = two_times(path)(x, t, r)
    assert student.values[0].item() == pytest.approx((exact[1] - exact[0]).item(), abs=1e-2)
    assert student.values[1].item() == pytest.approx(exact[0].item(), abs=1e-2)
