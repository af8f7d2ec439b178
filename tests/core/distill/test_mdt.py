import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill import mdt

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
    """phi(x, 1) = k x + c: slope and offset to 1e-2 within 500 iterations of velocity matching."""
    slopes = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(12, dtype=torch.float64, requires_grad=True)

    def phi(x, t):  # a cubic spline would do; Chebyshev polynomials in t are smooth and enough
        basis = torch.stack([torch.cos(k * torch.acos((2 * t - 1).clamp(-1, 1))) for k in range(12)], dim=1)
        return (basis @ slopes)[:, None] * x + (basis @ offsets)[:, None]

    optimizer = torch.optim.LBFGS([slopes, offsets], lr=1.0, max_iter=1)
    t = torch.linspace(1.0, 1e-2, 1024, dtype=torch.float64)
    x, *_ = draws(PATH, t, n=1024, d=4)

    def closure():
        optimizer.zero_grad()
        loss = mdt.velocity_matching(phi, velocity, x, t, differentiate=finite).mean()
        loss.backward()
        return loss

    finite = lambda phi, x, t, v: mdt.finite_difference(phi, x, t, v, dt=1e-3)  # noqa: E731
    for _ in range(500):
        optimizer.step(closure)
    one = torch.ones(1, dtype=torch.float64)
    got = [phi(torch.full((1, 1), value, dtype=torch.float64), one).item() for value in (0.0, 1.0)]
    want = [average(torch.full((1, 1), value, dtype=torch.float64), one).item() for value in (0.0, 1.0)]
    assert got == pytest.approx(want, abs=1e-2)
