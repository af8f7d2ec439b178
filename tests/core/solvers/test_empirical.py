"""DPM-Solver-v3: degenerate statistics are the known solvers, exact ones are exact, and measured ones are the law's."""

import math

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers import Statistics, empirical
from fewstep.core.solvers.tune import Trial, statistics
from fewstep.core.solvers.tune.statistics import measure
from fewstep.core.solvers.tune.trial import median

PATH, SD = paths.vp_linear(), 0.6
FLAT = (-6.0, 8.0)


def gaussian(mean=0.0, variance=SD**2, path=PATH):
    def denoise(x, t):
        a, _, s = path.coefficients(t.double())
        return mean + a * variance / (a * a * variance + s * s) * (x - a * mean)

    return denoise


def starts(n=16, d=8, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("l", "s", "basis"), [(1.0, 0.0, "lambda"), (0.0, -1.0, "eps")])
@pytest.mark.parametrize("corrector", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_constant_statistics_are_known_solvers(l, s, basis, order, corrector):  # noqa: E741
    """With l = 0 and s = -1, G is the noise up to a constant."""
    grid = times.uniform(PATH, 6)[:-1]
    ours = empirical(Statistics(FLAT, (l, l), (s, s)), order, corrector=corrector)
    theirs = solvers.multistep(order, basis, corrector=corrector)
    ends = [sample(lambda x, t: torch.tanh(x), PATH, times=grid, solver=each, x=starts()).x for each in (ours, theirs)]
    torch.testing.assert_close(*ends, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", [paths.vp_linear(), paths.edm(), paths.rectified_flow()], ids=lambda p: p.key)
@pytest.mark.parametrize("mean", [0.0, 1.7])
def test_one_step_is_exact_on_a_gaussian_of_any_mean(path, mean):
    lam = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    grid = path.inverse(lam)
    (a, a_new), _, (s, s_new) = path.coefficients(grid)
    x = a * mean + starts()
    out = sample(gaussian(mean, path=path), path, times=grid, solver=empirical(Statistics.gaussian(SD), 1), x=x).x
    gain = torch.sqrt((a_new**2 * SD**2 + s_new**2) / (a**2 * SD**2 + s**2))
    torch.testing.assert_close(out, a_new * mean + gain * (x - a * mean), rtol=2e-6, atol=2e-6)


def trial(denoise, x=None):
    base = solvers.default(sigma_data=SD, scale=SD)
    return Trial(denoise, PATH, starts() if x is None else x, None, 5, base, median, 100)


def test_measured_statistics_of_a_gaussian_are_its_own():
    found, exact = measure(trial(gaussian(1.2)), points=40), Statistics.gaussian(SD)
    want, _, _ = exact.at(np.array(found.lam))
    np.testing.assert_allclose(found.l, want, atol=1e-6)
    clear = np.abs(found.lam) < 2  # beyond, f is too small a part of N to tell
    np.testing.assert_allclose(np.array(found.s)[clear], (2 * want - 2)[clear], atol=0.02)


def test_the_trace_is_that_of_all_components():
    """Hutchinson's estimate is exact for diagonal covariances."""
    variance = torch.tensor([2.0, 1.0, 0.2, 0.05] * 2, dtype=torch.float64)
    found = measure(trial(gaussian(0.0, variance)), points=12)
    square = np.exp(-2 * np.array(found.lam))[:, None]
    np.testing.assert_allclose(found.l, 1 - (variance.numpy() / (variance.numpy() + square)).mean(1), atol=1e-6)


def test_measured_statistics_beat_the_default_where_it_is_wrong():
    """A default for data ten times as wide; the statistics see the right width."""
    wrong = solvers.default(sigma_data=10 * SD, scale=10 * SD)
    tuned = solvers.tune(gaussian(), PATH, steps=5, x=starts(), start=wrong, method=statistics(points=40))
    assert tuned.after < 0.05 * tuned.before


def test_degraded_ends_are_told_to_the_denoiser():
    path, y = paths.ou(), torch.full((16, 8), 0.7, dtype=torch.float64)

    def denoise(x, t):
        a, b, s = path.coefficients(t.double())
        return a * SD**2 / (a * a * SD**2 + s * s) * (x - b * 0.7)

    base = solvers.default(sigma_data=SD, scale=SD)
    found = measure(Trial(denoise, path, starts(), y, 5, base, median, 100), points=10)
    want, _, _ = Statistics.gaussian(SD).at(np.array(found.lam))
    np.testing.assert_allclose(found.l, want, atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        ((0.0,), (1.0,), (0.0,)),
        ((0.0, 1.0), (1.0,), (0.0, 0.0)),
        ((1.0, 0.0), (1.0, 1.0), (0.0, 0.0)),
        ((0.0, 1.0), (1.0, math.nan), (0.0, 0.0)),
    ],
)
def test_statistics_that_are_none_are_refused(values):
    with pytest.raises(UsageError, match="two or more increasing values of lam"):
        Statistics(*values)


def test_options_are_checked():
    with pytest.raises(UsageError, match="order >= 1"):
        empirical(Statistics.gaussian(1.0), 0)
    with pytest.raises(UsageError, match="at least 4 points"):
        measure(trial(gaussian()), points=3)
    with pytest.raises(UsageError, match="orders of at least 1"):
        statistics(orders=())
