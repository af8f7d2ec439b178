"""With Gaussian data the posterior is known: the methods that promise its mean give it."""

import pytest
import torch

from fewstep.core import consistency, paths
from fewstep.core.operators import conjugate_gradient

from .conftest import COLUMNS, SHAPE, undersampled
from .gaussian import dense, exact, posterior, randn

SIGMA_Y, STD, MEAN = 0.3, 0.7, 0.4
PATHS = {
    "vp": paths.vp_linear(),
    "edm": paths.edm(),
    "flow": paths.rectified_flow(),
    "ou": paths.ou(),
    "bridge": paths.brownian_bridge(),
}
NOISY = {
    "prox": lambda *given: consistency.prox(*given, sigma_y=SIGMA_Y, sigma_data=STD, tolerance=1e-12, iterations=200),
    "dds": lambda *given: consistency.dds(*given, sigma_y=SIGMA_Y, sigma_data=STD, iterations=200),
    "pigdm": lambda *given: consistency.pigdm(*given, sigma_y=SIGMA_Y, sigma_data=STD, tolerance=1e-12, iterations=200),
}


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


@pytest.fixture(params=[0.02, 0.4, 0.9])
def t(request, path):
    return torch.tensor(request.param * path.t_max, dtype=torch.float64)


def drawn(A, path, t, y=None):
    """A state, and what was measured of the same x0."""
    x0 = MEAN + STD * randn(2, *SHAPE)
    x = path.sample(x0, randn(2, *SHAPE, seed=1), t, y)
    return x, A(x0) + SIGMA_Y * randn(2, *A.shape_out, seed=2)


@pytest.mark.parametrize("which", NOISY)
def test_posterior_mean(A, path, t, which):
    y = randn(2, *SHAPE, seed=3)
    denoise = exact(path, MEAN, STD**2, y)
    x, measured = drawn(A, path, t, y)
    r2 = float(1 / (1 / STD**2 + torch.exp(2 * path.lam(t))))
    expected = posterior(A, measured, denoise(x, t), r2, SIGMA_Y)
    got = NOISY[which](denoise, A, measured, path)(x, t)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("which", NOISY)
def test_posterior_mean_where_the_state_says_nothing(which):
    path, A, t = PATHS["flow"], undersampled(), torch.tensor(1.0, dtype=torch.float64)
    denoise = exact(path, MEAN, STD**2)
    x, measured = drawn(A, path, t)
    got = NOISY[which](denoise, A, measured, path)(x, t)
    torch.testing.assert_close(got, posterior(A, measured, denoise(x, t), STD**2, SIGMA_Y), rtol=1e-7, atol=1e-7)


def test_pigdm_without_noise_is_the_projection_for_isotropic_data(A):
    path, t = PATHS["vp"], torch.tensor(0.4, dtype=torch.float64)
    denoise = exact(path, MEAN, STD**2)
    x, measured = drawn(A, path, t)
    options = {"iterations": 200, "tolerance": 1e-12}
    got = consistency.pigdm(denoise, A, measured, path, sigma_data=STD, **options)(x, t)
    expected = consistency.project(denoise, A, measured, path, **options)(x, t)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-7)


def test_pigdm_pulls_through_the_denoiser():
    """Data of unequal variances: (s²/a) J is the posterior covariance, which differs by component from r_t²."""
    path, t, A = PATHS["vp"], torch.tensor(0.4, dtype=torch.float64), undersampled()
    variance = torch.linspace(0.1, 3, 30, dtype=torch.float64).reshape(SHAPE)
    denoise = exact(path, 0.0, variance)
    x, measured = drawn(A, path, t)
    r2 = float(1 / (1 + torch.exp(2 * path.lam(t))))
    matrix = dense(A)
    inner = torch.linalg.inv(r2 * matrix @ matrix.mH + SIGMA_Y**2 * torch.eye(30, dtype=torch.float64))
    missing = (measured - A(denoise(x, t))).flatten(1)
    covariance = 1 / (1 / variance + torch.exp(2 * path.lam(t)))
    expected = denoise(x, t) + covariance * (missing @ (matrix.mH @ inner).T).reshape(x.shape)
    got = consistency.pigdm(denoise, A, measured, path, sigma_data=1.0, sigma_y=SIGMA_Y)(x, t)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64], ids=str)
def test_dps_is_the_gradient_of_the_norm(dtype):
    path, t = PATHS["vp"], torch.tensor(0.4, dtype=torch.float64)
    A = undersampled().parts[0] if dtype is torch.float64 else undersampled()
    denoise = exact(path, MEAN, STD**2)
    x, measured = (value.to(dtype) if dtype.is_complex else value.real for value in drawn(A, path, t))
    got = consistency.dps(denoise, A, measured, path, zeta=0.5)(x, t)
    leaf = x.clone().requires_grad_()
    norms = torch.linalg.vector_norm((measured - A(denoise(leaf, t))).flatten(1), dim=1)
    (gradient,) = torch.autograd.grad(norms.sum(), leaf)
    a, _, s = path.coefficients(t)
    torch.testing.assert_close(got, denoise(x, t) - 0.5 * s**2 / a * gradient, rtol=1e-9, atol=1e-9)


def test_projection_is_the_nearest_that_agrees(A):
    path, t = PATHS["vp"], torch.tensor(0.4, dtype=torch.float64)
    denoise = exact(path, MEAN, STD**2)
    x, _ = drawn(A, path, t)
    measured = A(randn(2, *SHAPE, seed=4))
    got = consistency.project(denoise, A, measured, path, iterations=300, tolerance=1e-13)(x, t)
    x0, matrix = denoise(x, t).flatten(1), dense(A)
    expected = x0 + (measured.flatten(1) - x0 @ matrix.T) @ torch.linalg.pinv(matrix, rtol=1e-9).T
    torch.testing.assert_close(got.flatten(1), expected, rtol=1e-6, atol=1e-6)


def test_projection_is_shortened_below_the_noise_of_the_measurement():
    path, A = PATHS["edm"], undersampled()
    guess, measured = randn(1, *SHAPE), randn(1, *SHAPE, seed=1) * COLUMNS

    def moved(sigma, **options):
        t = torch.tensor(sigma, dtype=torch.float64)
        return consistency.project(lambda x, t: guess, A, measured, path, **options)(guess, t) - guess

    whole = moved(1.0)
    for sigma, part in ((1.0, 1.0), (0.5, 1.0), (0.25, 0.5)):
        torch.testing.assert_close(moved(sigma, sigma_y=0.5), part * whole)


def test_dds_is_so_many_steps_of_conjugate_gradients(A):
    path, t = PATHS["edm"], torch.tensor(0.5, dtype=torch.float64)
    guess, measured = randn(1, *SHAPE), A(randn(1, *SHAPE, seed=1))
    for steps in (1, 2, 4):
        got = consistency.dds(lambda x, t: guess, A, measured, path, iterations=steps)(guess, t)
        expected = conjugate_gradient(A.N, A.H(measured), guess, iterations=steps).x
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
        g = 0.25 / 0.01
        noisy = consistency.dds(lambda x, t: guess, A, measured, path, iterations=steps, sigma_y=0.1)(guess, t)
        right = guess + g * A.H(measured)
        expected = conjugate_gradient(A.N * g, right, guess, iterations=steps, damping=1.0).x
        torch.testing.assert_close(noisy, expected, rtol=1e-9, atol=1e-9)


def test_floor_is_the_least_that_is_allowed_for_the_denoiser():
    path, A, t = PATHS["edm"], undersampled(), torch.tensor(0.002, dtype=torch.float64)
    guess, measured = randn(1, *SHAPE), A(randn(1, *SHAPE, seed=1))
    for method in (consistency.prox, consistency.dds):
        got = method(lambda x, t: guess, A, measured, path, sigma_y=SIGMA_Y, floor=0.2)(guess, t)
        expected = posterior(A, measured, guess, 0.2**2, SIGMA_Y)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
