import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill import mdt
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError

from .gaussian import denoiser, draws, flow_map

PATH = paths.rectified_flow()
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, on its first jvp


def velocity(x, t):
    """Marginal velocity of the Gaussian problem: v = (x − x0_hat) / t."""
    return (x - denoiser(PATH)(x, t)) / t.reshape(-1, 1)


def average(x, t, shift=0.0):
    """Average velocity from t to 0: (x − x0) / t along the exact map."""
    return (x - flow_map(PATH)(x, t, torch.zeros_like(t))) / t.reshape(-1, 1) + shift


def points(d, n=64):
    t = torch.linspace(0.1, 0.95, n, dtype=torch.float64)
    return draws(PATH, t, n=n, d=d)[0], t


@pytest.mark.parametrize("d", [1, 16, 4096])
def test_matching_rests_at_the_average_velocity_in_any_dimension(d):
    x, t = points(d)
    for differentiate, bound in ((mdt.finite_difference, 1e-2), (mdt.derivative, 1e-10)):
        residual = mdt.velocity_matching(average, velocity, x, t, differentiate=differentiate).mean().sqrt()
        assert residual < bound
    far = mdt.velocity_matching(lambda x, t: average(x, t, 0.3), velocity, x, t).sqrt()
    assert far.min() > 0.1


def test_the_released_normalisation_switches_the_method_off_in_high_dimension():
    """Residual at the true average velocity: small as it should be without, near that of doing nothing with l2."""
    x, t = points(4096)
    raw, l2, rms = (
        mdt.velocity_matching(average, velocity, x, t, normalise=norm).mean().sqrt().item()
        for norm in (None, mdt.l2, mdt.rms)
    )
    nothing = mdt.velocity_matching(average, velocity, x, t, normalise=torch.zeros_like).mean().sqrt().item()
    assert raw < 0.02 * nothing
    assert l2 > 0.9 * nothing
    assert rms > 10 * raw


def test_finite_difference_is_of_first_order():
    x, t = points(3)
    exact = mdt.derivative(average, x, t, velocity(x, t))
    coarse, fine = (
        (mdt.finite_difference(average, x, t, velocity(x, t), dt=dt) - exact).abs().max() for dt in (2e-3, 1e-3)
    )
    assert coarse / fine == pytest.approx(2, abs=0.1)


def test_distillation_moves_samples_to_the_teachers_law():
    """A student whose samples lie off by a constant: the gradient points back, and vanishes at the teacher's law."""
    generator = torch.Generator().manual_seed(1)
    z, noise = torch.randn(2, 256, 2, generator=generator, dtype=torch.float64)
    t = torch.linspace(0.1, 0.95, 256, dtype=torch.float64)
    for shift in (0.4, 0.0, -0.4):
        offset = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
        loss = mdt.velocity_distillation(
            lambda x, t, o=offset: average(x, t, o), velocity, z, noise, t, differentiate=mdt.derivative
        ).mean()
        (slope,) = torch.autograd.grad(loss, offset)
        assert abs(slope) < 1e-9 if shift == 0 else slope * shift > 0


def test_a_linear_student_finds_the_gaussian_leap():
    """phi(x, 1) = k x + c: slope and offset to 1e-2, by damped steps along the gradients of velocity matching.

    The goal moves with the student, so this is no descent: a line search or a quasi-Newton method may go astray. For
    polynomials in t the map has eigenvalues 1 + degree, and steps of 0.1 (in units of the curvature) contract.
    """
    weights = torch.zeros(12, 2, dtype=torch.float64, requires_grad=True)
    t = torch.linspace(1.0, 1e-2, 1024, dtype=torch.float64)
    x, *_ = draws(PATH, t, n=1024, d=4)

    def basis(t):  # a cubic spline would do; Chebyshev polynomials in t are smooth and enough
        return torch.stack([torch.cos(k * torch.acos((2 * t - 1).clamp(-1, 1))) for k in range(12)], dim=1)

    def phi(x, t):
        slope, offset = (basis(t) @ weights).T
        return slope[:, None] * x + offset[:, None]

    finite = lambda phi, x, t, v: mdt.finite_difference(phi, x, t, v, dt=1e-3)  # noqa: E731
    seen = torch.stack([x, torch.ones_like(x)], dim=2)
    design = torch.einsum("nk,ndj->ndkj", basis(t), seen).flatten(0, 1).flatten(1)
    curvature = 2 * design.T @ design / len(design)
    for _ in range(300):
        loss = mdt.velocity_matching(phi, velocity, x, t, differentiate=finite).mean()
        (slope,) = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            weights -= 0.1 * torch.linalg.solve(curvature, slope.flatten()).view_as(weights)
    one = torch.ones(1, dtype=torch.float64)
    got = [phi(torch.full((1, 1), value, dtype=torch.float64), one).item() for value in (0.0, 1.0)]
    want = [average(torch.full((1, 1), value, dtype=torch.float64), one).item() for value in (0.0, 1.0)]
    assert got == pytest.approx(want, abs=1e-2)


def test_matching_is_consistency_distillation_in_another_weight():
    """r_VM = −r_CM/dt + (phi_t − phi_{t−dt}), with f = x − t phi and r_CM = f(x_t) − f(x_{t−dt}), for any student."""
    x, t = points(3)
    dt, of = 0.01, lambda value: value.reshape(-1, 1)
    student = lambda x, t: torch.sin(2 * x + of(t)) + of(t) ** 2  # noqa: E731
    v = velocity(x, t)
    here, there = student(x, t), student(x - dt * v, t - dt)
    matching = here - (v - of(t) * mdt.finite_difference(student, x, t, v, dt=dt))
    consistency = (x - of(t) * here) - (x - dt * v - of(t - dt) * there)
    torch.testing.assert_close(matching, -consistency / dt + here - there, rtol=1e-9, atol=1e-9)
    loss = mdt.velocity_matching(
        student, velocity, x, t, differentiate=lambda phi, x, t, v: mdt.finite_difference(phi, x, t, v, dt=dt)
    )
    torch.testing.assert_close(loss, matching.square().mean(1), rtol=1e-9, atol=1e-9)


def test_what_is_capped_is_shortened_and_no_more():
    z, noise = draws(PATH, torch.ones(64, dtype=torch.float64), n=64, d=8)[0], torch.zeros(64, 8, dtype=torch.float64)
    t = torch.linspace(0.2, 0.9, 64, dtype=torch.float64)

    def pull(shift, cap):
        leaps = average(z, torch.ones_like(t), shift).requires_grad_()
        phi = lambda x, s: leaps if bool((s == 1).all()) else average(x, s, shift)  # noqa: E731
        options = {"differentiate": mdt.finite_difference, "cap": cap}
        return torch.autograd.grad(mdt.velocity_distillation(phi, velocity, z, noise, t, **options).sum(), leaps)[0]

    assert torch.equal(pull(0.01, None), pull(0.01, 100.0))
    free, held = pull(30.0, None), pull(30.0, 0.5)
    torch.testing.assert_close(torch.cosine_similarity(free, held), torch.ones(64, dtype=torch.float64))
    assert (held.norm(dim=1) < free.norm(dim=1)).all()
    leap = z - average(z, torch.ones_like(t), 30.0)
    size = velocity((1 - t[:, None]) * leap, t).norm(dim=1)
    torch.testing.assert_close(held.norm(dim=1), 2 / 8 * 0.5 * size)  # of a mean over 8 squares


def _nets(asked=None, **more):
    def guided(w):
        asked.append(w)
        return denoiser(PATH)

    return Nets(denoiser(PATH), denoiser(PATH), denoiser(PATH), guided=None if asked is None else guided, **more)


def test_each_loss_has_its_own_guidance_and_its_start():
    items = Items(torch.zeros(16, 4, dtype=torch.float64))
    asked = []
    mdt.paper().loss(_nets(asked), PATH, items, torch.Generator().manual_seed(0))
    assert [w.unique().tolist() for w in asked] == [[41.0], [101.0]]
    asked.clear()
    mdt.release(distillation_from=1).loss(_nets(asked), PATH, items, torch.Generator().manual_seed(0))
    assert [w.unique().tolist() for w in asked] == [[41.0]]
    assert (mdt.release().normalise, mdt.paper().normalise) == (mdt.l2, None)
    with pytest.raises(UsageError, match="batches need 'uncond'"):
        mdt.paper().loss(_nets(), PATH, items, torch.Generator())


def test_distillation_joins_when_it_is_told():
    def loss(**options):
        items = Items(torch.zeros(16, 4, dtype=torch.float64), iteration=5)
        return mdt.MarginalData(**options).loss(_nets(), PATH, items, torch.Generator().manual_seed(0))

    torch.testing.assert_close(loss(distillation_from=6), loss(distillation=0.0))
    torch.testing.assert_close(loss(distillation_from=5), loss())
    assert not torch.allclose(loss(), loss(distillation=0.0))


def test_late_times_are_drawn_as_released():
    seen = []

    def watched(x, t):
        seen.append(t)
        return denoiser(PATH)(x, t)

    nets = Nets(denoiser(PATH), denoiser(PATH), watched)
    recipe = mdt.MarginalData(logit_normal=(1.0, 1.0), distillation=0.0, dt=0.01)
    recipe.loss(nets, PATH, Items(torch.zeros(4096, 1, dtype=torch.float64)), torch.Generator().manual_seed(0))
    t = (seen[0].double() - 0.02) / 0.98
    assert 0 <= t.min() <= t.max() <= 1
    normal = torch.logit(t, eps=1e-9)
    assert (normal.mean().item(), normal.std().item()) == pytest.approx((1.0, 1.0), abs=0.02)
