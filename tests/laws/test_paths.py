"""What holds for every path."""

import copy
import pickle

import pytest
import torch

from fewstep.benchmarks.core import PATHS
from fewstep.core import paths

LEFT_AT_ZERO = {"ve": 0.01}
"""Noise at t = 0 of the paths that never get rid of it."""


@pytest.fixture(params=PATHS, ids=str)
def name(request):
    return request.param


@pytest.fixture
def path(name):
    return PATHS[name]()


def inside(path, n=501):
    """Times inside the path, away from its ends and, for tables, from the kinks."""
    t = torch.linspace(path.t_min, path.t_max, n, dtype=torch.float64)[1:-1]
    if path.n_train is None:
        return t
    return t[((t * path.n_train) % 1 - 0.5).abs() < 0.49]


def test_every_constructor_is_registered():
    constructors = [name for name in paths.__all__ if name != "AffinePath"]
    assert {name.split(",")[0] for name in PATHS} == set(constructors)


def test_starts_at_the_data(path, name):
    a, b, s = path.coefficients(0.0)
    assert (float(a), float(b)) == (1.0, 0.0)
    assert abs(float(s) - LEFT_AT_ZERO.get(name, 0.0)) < 1e-15


def test_lam_falls(path):
    lam = path.lam(torch.linspace(0, path.t_max, 2001, dtype=torch.float64))
    assert (lam.diff() < 0).all()


def test_lam_is_log_a_over_s(path):
    t = inside(path)
    a, _, s = path.coefficients(t)
    torch.testing.assert_close(path.lam(t), torch.log(a) - torch.log(s), rtol=1e-12, atol=1e-12)


def test_inverse(path):
    t = torch.cat([inside(path), torch.tensor([path.t_min / 3, path.t_min / 50], dtype=torch.float64)])
    t = t[t > 0]
    torch.testing.assert_close(path.inverse(path.lam(t)), t, rtol=1e-10, atol=1e-10)


def test_derivatives_are_autograd(path):
    t = inside(path).requires_grad_()
    for value, slope in zip(path.coefficients(t), path.derivatives(t), strict=True):
        expected = torch.zeros_like(t)
        if value.requires_grad:
            (expected,) = torch.autograd.grad(
                value.sum(), t, allow_unused=True, materialize_grads=True, retain_graph=True
            )
        torch.testing.assert_close(slope.detach(), expected, rtol=1e-10, atol=1e-12)


def test_coefficients_keep_shape_and_dtype(path):
    t = torch.full((2, 3), path.t_max / 2, dtype=torch.float32)
    for value in (*path.coefficients(t), *path.derivatives(t), path.lam(t), path.inverse(path.lam(t))):
        assert value.shape == (2, 3)
        assert value.dtype == torch.float32
    assert path.coefficients(path.t_max / 2)[0].dtype == torch.float64


def test_rounding_below_zero_counts_as_zero(path):
    torch.testing.assert_close(path.coefficients(-1e-9), path.coefficients(0.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.bfloat16, torch.float16], ids=str)
def test_sample_is_the_affine_sum(path, dtype):
    generator = torch.Generator().manual_seed(0)
    x0, eps, y = (_drawn(dtype, generator) for _ in range(3))
    t = torch.linspace(path.t_min, path.t_max, 4, dtype=torch.float64)
    x = path.sample(x0, eps, t, y)
    assert x.dtype == dtype
    for i in range(4):
        a, b, s = (float(value) for value in path.coefficients(t[i]))
        expected = a * x0[i] + b * y[i] + s * eps[i]
        torch.testing.assert_close(x[i], expected, rtol=2e-2 if x0.element_size() == 2 else 1e-5, atol=1e-2)
        torch.testing.assert_close(path.sample(x0[i : i + 1], eps[i : i + 1], float(t[i]), y[i : i + 1])[0], x[i])


def test_prior_puts_y_in_the_place_of_x0(path):
    z, y, guess = (torch.full((1, 2), value, dtype=torch.float64) for value in (1.0, 10.0, 100.0))
    a, b, s = path.coefficients(path.t_max)
    torch.testing.assert_close(path.prior(z), s * z)
    torch.testing.assert_close(path.prior(z, y, temperature=0.5), (a + b) * y + 0.5 * s * z)
    torch.testing.assert_close(path.prior(z, y, guess), a * guess + b * y + s * z)


def test_equal_and_hashed_by_key_and_copied(path, name):
    again = PATHS[name]()
    assert path == again
    assert hash(path) == hash(again)
    for twin in (copy.deepcopy(path), pickle.loads(pickle.dumps(path))):
        assert twin == path
        torch.testing.assert_close(twin.lam(path.t_max / 2), path.lam(path.t_max / 2))


def test_keys_differ():
    assert len({make().key for make in PATHS.values()}) == len(PATHS)


def _drawn(dtype, generator):
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return torch.randn(4, 3, generator=generator, dtype=wide).to(dtype)
