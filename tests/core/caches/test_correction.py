"""Corrections: exact on features that are affine in their prediction; grids that end where they ended."""

import pytest
import torch

from fewstep.core import caches
from fewstep.core.caches import Affine, Scale
from fewstep.core.errors import UsageError


@pytest.mark.parametrize("channel", [1, -1])
def test_affine_features_are_corrected_exactly(channel):
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    shape = [1, 1, 1]
    shape[channel] = predicted.shape[channel]
    a, b = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    actual = a * predicted + b
    correction = Affine({("net", 3): caches.affine(predicted, actual, channel=channel)})
    assert torch.allclose(correction.correct("net", 3, predicted), actual, atol=1e-10)
    assert correction.correct("net", 4, predicted) is predicted


def test_least_squares_leave_residuals_orthogonal():
    generator = torch.Generator().manual_seed(0)
    predicted, actual = (torch.randn(6, 2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    a, b = caches.affine(predicted, actual)
    residual = actual - a * predicted - b
    assert residual.mean((0, 2)).abs().max() < 1e-12
    assert (residual * predicted).mean((0, 2)).abs().max() < 1e-12


def test_a_constant_prediction_is_shifted_only():
    a, b = caches.affine(torch.ones(2, 3, 4), torch.full((2, 3, 4), 5.0))
    assert torch.equal(a * 1 + b, torch.full((1, 3, 1), 5.0))


def test_two_shapes():
    with pytest.raises(UsageError, match=r"one shape, got \[2, 3\] and \[2, 4\]"):
        caches.affine(torch.ones(2, 3), torch.ones(2, 4))


def test_scale():
    value = torch.ones(2)
    assert Scale({1: 0.5}).correct("net", 1, value).tolist() == [0.5, 0.5]
    assert Scale().correct("net", 1, value) is value


def test_rescaled_grids_keep_their_ends_and_spread_the_rest_evenly():
    grid = torch.linspace(1, 0, 6, dtype=torch.float64)
    assert torch.allclose(caches.rescaled(grid, {}), grid)
    new = caches.rescaled(grid, {1: 0.5, 3: 0.25})
    steps = new[:-1] - new[1:]
    assert (steps > 0).all()
    assert steps.sum() == pytest.approx(1)
    assert steps[1] == pytest.approx(0.5 * steps[0])
    assert steps[2] > steps[0]
    assert new[-1] == 0
    stopped = caches.rescaled(grid, {2: 0.0})
    assert stopped[3] == stopped[2]
    assert stopped[-1] == 0


@pytest.mark.parametrize("phi", [{0: 1.5}, {5: 0.5}, {-1: 0.5}])
def test_bad_factors(phi):
    with pytest.raises(UsageError, match=r"factors in \[0, 1\] of steps before the last of 6"):
        caches.rescaled(torch.linspace(1, 0, 7), phi)
