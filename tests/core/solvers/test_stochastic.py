"""Churn and ancestral sampling: what they are without noise, and how much of it they add."""

import math

import numpy as np
import pytest

from fewstep.core import paths, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers.gaussian import outcome

PATHS = [paths.edm(), paths.vp_linear(), paths.ou()]


def same(one, other, path, grid):
    one, other = one.tableau(path, grid), other.tableau(path, grid)
    for name in ("times", "state", "noise", "mix", "history"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
@pytest.mark.parametrize("zero", [True, False])
def test_without_noise_they_are_known_solvers(path, zero):
    grid = times.karras(path, 6, zero=zero)
    same(solvers.edm_stochastic(0.0), solvers.heun(), path, grid)
    same(solvers.dpmpp_2s_ancestral(0.0), solvers.dpmpp_2s(), path, grid)
    same(solvers.euler_ancestral(0.4), solvers.ddim(0.4), path, grid)
    one, other = solvers.dpmpp_sde(0.0).tableau(path, grid), solvers.dpmpp_2s().tableau(path, grid)
    first, second = (outcome(table, mean=0.3, variance=0.5) for table in (one, other))
    assert (first.slope, first.offset) == pytest.approx((second.slope, second.offset), rel=1e-10)
    assert first.variance == second.variance == 0


def test_churn_raises_the_noise_by_gamma():
    """sigma_hat = (1 + churn/n) sigma between s_tmin and s_tmax, and the noise that makes up the difference."""
    path = paths.vp_linear()
    grid = times.karras(path, 20)
    table = solvers.edm_stochastic(4.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.1).tableau(path, grid)
    a, _, s = (value.numpy() for value in path.coefficients(grid))
    sigma, rows = s / a, np.flatnonzero(np.append(np.diff(table.step) > 0, False))
    churned = (sigma[1:-1] >= 0.05) & (sigma[1:-1] <= 50)
    assert 5 < churned.sum() < 19
    hat = table.s[rows + 1] / table.a[rows + 1]
    np.testing.assert_allclose(hat, sigma[1:-1] * np.where(churned, 1.2, 1.0), rtol=1e-9)
    expected = 1.1 * table.a[rows + 1] * np.sqrt(np.maximum(hat**2 - sigma[1:-1] ** 2, 0))
    np.testing.assert_allclose(table.noise[rows], np.where(churned, expected, 0), atol=1e-12)


def test_churn_is_capped():
    """gamma at most sqrt(2) − 1, and never above the first noise."""
    table = solvers.edm_stochastic(1e3).tableau(paths.edm(), [1.0, 0.9, 0.1, 0.0])
    np.testing.assert_allclose(table.times[[2, 4]], [1.0, 0.1 * math.sqrt(2)])


@pytest.mark.parametrize(
    "make", [solvers.dpmpp_2s_ancestral, solvers.dpmpp_sde, solvers.ddim], ids=lambda f: f.__name__
)
def test_fresh_noise_of_a_step_is_that_of_ddim(make):
    """After one step from a point, the spread for constant answers is eta s_n sqrt(1 − e^{−2h}) for all of them."""
    path, eta = paths.edm(), 0.7
    table = make(eta).tableau(path, [1.0, 0.4])
    spread = 0.0
    for i in range(table.rows):
        spread = math.hypot(spread * table.state[i], table.noise[i])
    assert spread == pytest.approx(0.4 * eta * math.sqrt(1 - 0.16))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.edm_stochastic(-1.0), "churn >= 0 and s_noise >= 0"),
        (lambda: solvers.edm_stochastic(s_tmin=2.0, s_tmax=1.0), "0 <= s_tmin <= s_tmax"),
        (lambda: solvers.euler_ancestral(1.1), r"eta in \[0, 1\], got 1.1"),
        (lambda: solvers.dpmpp_2s_ancestral(-0.1), r"eta in \[0, 1\], got -0.1"),
        (lambda: solvers.dpmpp_sde(2.0), r"eta in \[0, 1\], got 2.0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(UsageError, match=message):
        make()
