"""Methods in time and Runge-Kutta methods against their textbook forms; DEIS in its three variables."""

import itertools

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers.basis import Basis
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.quadrature import lagrange, moments

FLOW = paths.rectified_flow()
VP = paths.vp_linear()
X = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)


def close(got, expected, tolerance=1e-10):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def velocity(x, t):
    return (x - np.tanh(x)) / t


def run(solver, grid, path=FLOW):
    return sample(lambda x, t: torch.tanh(x), path, times=grid, solver=solver, x=X)


def test_euler_is_ddim_on_a_rectified_flow():
    one, other = (solver.tableau(FLOW, times.uniform(FLOW, 5)) for solver in (solvers.euler(), solvers.ddim()))
    x = sample(lambda x, t: torch.tanh(x), FLOW, solver=one, x=X).x
    close(x, sample(lambda x, t: torch.tanh(x), FLOW, solver=other, x=X).x)
    assert abs(run(solvers.euler(), [0.9, 0.5, 0.2], VP).x - run(solvers.ddim(), [0.9, 0.5, 0.2], VP).x).max() > 1e-3


def test_adams_2_on_uneven_steps():
    grid, x, before = [1.0, 0.7, 0.5, 0.2, 0.1], X.numpy(), None
    for i in range(4):
        now, h = velocity(x, grid[i]), grid[i + 1] - grid[i]
        slope = now if before is None else now + h / (grid[i] - grid[i - 1]) / 2 * (now - before)
        x, before = x + h * slope, now
    close(run(solvers.adams(2), grid).x, x)


def test_rk4_is_the_classical_one_and_stays_off_the_end():
    x, grid = X.numpy(), [1.0, 0.6, 0.3]
    for t, n in itertools.pairwise(grid):
        h = n - t
        k1 = velocity(x, t)
        k2 = velocity(x + h / 2 * k1, t + h / 2)
        k3 = velocity(x + h / 2 * k2, t + h / 2)
        k4 = velocity(x + h * k3, n)
        x = x + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    close(run(solvers.runge_kutta(), grid).x, x)
    to_zero = solvers.runge_kutta().tableau(FLOW, [*grid, 0.0])
    assert (to_zero.nfe, to_zero.times[:-1].min()) == (11, pytest.approx(0.3 / 4))


def test_heun_in_rho_is_heun():
    grid = times.karras(VP, 6, zero=False)
    one, other = (s.tableau(VP, grid) for s in (solvers.runge_kutta("heun", "rho"), solvers.heun()))
    for name in ("state", "history", "mix"):
        close(getattr(one, name), getattr(other, name))


def test_trig_steps_are_exact_for_isotropic_gaussian_data():
    from fewstep.core.solvers.gaussian import error

    table = solvers.runge_kutta("rk3", "trig", sigma_data=0.5).tableau(VP, [1.0, 0.5, 0.0])
    assert error(table, mean=0.0, variance=0.25) < 1e-12


@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_integrates_polynomials_in_its_variable(order):
    """sum_j w_j t_j^k = a_n ∫ t^k d(s/a) for k below the order, here by fine trapezoids."""
    grid = [0.9, 0.7, 0.45, 0.3]
    k = knots(VP, grid)
    weights = solvers.deis(order).tableau(VP, grid).history[2]
    fine = torch.linspace(0.45, 0.3, 200_001, dtype=torch.float64)
    a, _, s = VP.coefficients(fine)
    for power in range(order):
        expected = k.a[3] * np.trapezoid(fine.numpy() ** power, (s / a).numpy())
        assert weights[:order] @ k.times[2::-1][:order] ** power == pytest.approx(expected, rel=1e-8)


def test_deis_variants():
    grid = times.karras(VP, 6)
    for variant, basis in (("rho", "rho"), ("log_rho", "eps")):
        one, other = (s.tableau(VP, grid) for s in (solvers.deis(3, variant), solvers.multistep(3, basis)))
        close(one.history, other.history)
    edm = times.karras(paths.edm(), 6)
    one, other = (solvers.deis(3, variant).tableau(paths.edm(), edm) for variant in ("t", "rho"))
    close(one.history, other.history)


@pytest.mark.parametrize("h", [1e-3, 0.3, 4.0, 12.0])
def test_moments_are_phi_functions(h):
    path = paths.edm()
    c = Basis("lambda").on(knots(path, [1.0, np.exp(-h)]))
    found = moments(c, 0, 1, 3)
    close(found[0], -np.expm1(-h), 1e-11)
    close(found[1], h + np.expm1(-h) if h > 0.1 else h**2 / 2 - h**3 / 6 + h**4 / 24, 1e-11)
    close(found[2], h**2 / 2 - h - np.expm1(-h) if h > 0.1 else h**3 / 6 - h**4 / 24, 1e-11)


def test_lagrange_weights_integrate_polynomials():
    c = Basis("lambda").on(knots(paths.edm(), [3.0, 1.4, 1.0, 0.3]))
    for n in (1, 2, 3):
        nodes = [2, 1, 0][:n]
        fine = np.linspace(c.z[2], c.z[3], 100_001)
        for power in range(n):
            expected = np.trapezoid(c.weight(fine, 3) * fine**power, fine)
            assert lagrange(c, 2, 3, nodes) @ c.z[nodes] ** power == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.adams(0), "order >= 1, got 0"),
        (lambda: solvers.runge_kutta("rk5"), "a method out of midpoint, heun, ralston, rk3, rk4, got 'rk5'"),
        (lambda: solvers.runge_kutta("rk4", "eps"), "basis 't', 'rho' or 'trig', got 'eps'"),
        (lambda: solvers.runge_kutta("rk4", "trig", sigma_data=0.0), "sigma_data > 0, got 0.0"),
        (lambda: solvers.deis(5), "order 1 to 4, got 5"),
        (lambda: solvers.deis(2, "lam"), "variant 't', 'rho' or 'log_rho', got 'lam'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(UsageError, match=message):
        make()
