"""ADMM with a denoiser: where it ends is a fixed point of both proximal steps, however it is relaxed."""

import pytest
import torch

from fewstep.core import paths
from fewstep.core.consistency.spread import variance
from fewstep.mri.methods.splitting import admm
from fewstep.mri.problem import normalised

from .conftest import scan

SIGMA, SIGMA_Y, SIGMA_DATA = 0.3, 0.05, 0.4


def shrunk(x, t):
    """The proximal step of |x|²/2: what ADMM then minimises has a closed form."""
    return x / (1 + 0.7)


def followed(n, **options):
    one = normalised(scan()[0])
    given = {"sigmas": [SIGMA] * n, "sigma_y": SIGMA_Y, "sigma_data": SIGMA_DATA, "floor": 0.01, "iterations": 40}
    return one, *admm(shrunk, one, paths.edm(), one.sense, **given, **options)


def exact(one):
    """argmin |A x − y|² / sigma_y² + 0.7 |x|² / r²: with D the proximal step of 0.35 |x|² and ADMM's weight 1 / r²."""
    r2 = float(variance(paths.edm(), torch.tensor(SIGMA), sigma_data=SIGMA_DATA, floor=0.01))
    x, back = torch.zeros_like(one.sense), one.problem.A.H(one.problem.kspace)
    damping = 0.7 * SIGMA_Y**2 / r2
    for _ in range(4000):  # gradient descent: A has norm one
        x = x + (back - one.problem.A.N.apply(x) - damping * x) / (1 + damping)
    return x


@pytest.mark.parametrize("options", [{}, {"relaxation": 1.8}, {"relaxation": 0.6}])
def test_it_ends_at_the_minimum(options):
    one, x, calls = followed(150, **options)
    assert calls == 150
    assert float((x - exact(one)).abs().max()) < 1e-4 * float(one.sense.abs().max())


def test_over_relaxation_is_faster():
    errors = []
    for relaxation in (1.0, 1.5):
        one, x, _ = followed(6, relaxation=relaxation)
        errors.append(float((x - exact(one)).abs().square().sum()))
    assert errors[1] < 0.5 * errors[0]
