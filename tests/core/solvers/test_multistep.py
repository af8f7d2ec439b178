"""Multistep presets against the formulas of their papers, re-derived here."""

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers.knots import knots

PATH = paths.vp_linear()
GRID = times.uniform_logsnr(PATH, 6, zero=False)
K = knots(PATH, GRID)
H = np.diff(K.lam)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)


def test_order_one_is_ddim_in_every_basis_but_trig():
    x = torch.linspace(-1, 1, 4, dtype=torch.float64)[None]
    expected = sample(_tanh, PATH, times=GRID, solver=solvers.ddim(), x=x).x
    for basis in ("lambda", "eps", "rho"):
        got = sample(_tanh, PATH, times=GRID, solver=solvers.multistep(1, basis), x=x).x
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def _tanh(x, t):
    return torch.tanh(x)


@pytest.mark.parametrize("grid", [GRID, times.karras(PATH, 6, zero=False)], ids=["even", "uneven"])
def test_dpmpp_2m_is_algorithm_2(grid):
    """x_n = s_n/s_p x − a_n (e^{−h} − 1) ((1 + 1/2r) D − 1/2r D_before), r = h_before / h."""
    k = knots(PATH, grid)
    h = np.diff(k.lam)
    table = solvers.dpmpp_2m().tableau(PATH, grid)
    first = -k.a[1:] * np.expm1(-h)
    lean = np.concatenate([[0.0], h[1:] / h[:-1] / 2])
    close(table.state, k.s[1:] / k.s[:-1])
    close(table.history, np.stack([first * (1 + lean), -first * lean], axis=1))


def test_taylor_variant_integrates_the_line_through_both_answers():
    """a_n ∫ e^{lam − lam_n} (D + (lam − lam_p) D') = a_n ((1 − e^{−h}) D + (h − 1 + e^{−h}) D'): MR Sampler's ODE-2."""
    table = solvers.dpmpp_2m("taylor").tableau(PATH, GRID)
    slope = np.concatenate([[0.0], K.a[2:] * (H[1:] + np.expm1(-H[1:])) / H[:-1]])
    close(table.history, np.stack([-K.a[1:] * np.expm1(-H) + slope, -slope], axis=1))


def test_sde_variant_is_the_exact_reverse_sde():
    """a_n ∫ 2 e^{2(lam − lam_n)} (D + (lam − lam_p) D'), and noise s_n sqrt(1 − e^{−2h}): SDE-DPM-Solver++(2M)."""
    table = solvers.multistep(2, eta=1.0).tableau(PATH, GRID)
    done = -np.expm1(-2 * H)
    slope = np.concatenate([[0.0], K.a[2:] * (H[1:] - done[1:] / 2) / H[:-1]])
    close(table.state, K.s[1:] / K.s[:-1] * np.exp(-H))
    close(table.history, np.stack([K.a[1:] * done + slope, -slope], axis=1))
    close(table.noise, K.s[1:] * np.sqrt(done))


def test_noise_prediction_of_second_order_is_dpm_solver():
    """u_n = a_n/a_p u − s_n (e^h − 1) eps − s_n (e^h − 1 − h) eps', eps' by a backward difference."""
    table = solvers.multistep(2, "eps").tableau(PATH, GRID)
    slope = np.concatenate([[0.0], K.s[2:] * (np.expm1(H[1:]) - H[1:]) / H[:-1]])
    close(table.state, K.a[1:] / K.a[:-1])
    close(table.history, np.stack([-K.s[1:] * np.expm1(H) - slope, slope], axis=1))
    close(table.mix[:, :2], np.stack([1 / K.s[:-1], -K.a[:-1] / K.s[:-1]], axis=1))


def test_rho_of_second_order_is_deis():
    """Adams-Bashforth in rho = s/a with steps of any size."""
    table = solvers.multistep(2, "rho").tableau(PATH, GRID)
    d = np.diff(K.s / K.a)
    back = np.concatenate([[0.0], d[1:] ** 2 / (2 * d[:-1])])
    close(table.history, K.a[1:, None] * np.stack([d + back, -back], axis=1))


def test_trig_is_adams_bashforth_in_the_angle():
    table = solvers.multistep(2, "trig", sigma_data=0.5).tableau(PATH, GRID)
    d = np.diff(np.arctan(K.s / K.a / 0.5))
    norm = np.sqrt(K.s**2 + 0.25 * K.a**2)
    back = np.concatenate([[0.0], d[1:] ** 2 / (2 * d[:-1])])
    close(table.state, norm[1:] / norm[:-1])
    close(table.history, -norm[1:, None] * np.stack([d + back, -back], axis=1))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("basis", ["lambda", "eps", "rho", "trig"])
def test_polynomials_in_the_variable_are_integrated_exactly(order, basis):
    """Weights on G = z^k give ∫ weight(z) z^k dz for all k below the order, here by fine trapezoids."""
    from fewstep.core.solvers.basis import Basis
    from fewstep.core.solvers.multistep import integrate

    c, i = Basis(basis).on(K), 4
    z = c.z
    fine = np.linspace(z[i], z[i + 1], 200_001)
    nodes = list(range(i, i - order, -1))
    for power in range(order):
        expected = np.trapezoid(c.weight(fine, i + 1) * fine**power, fine)
        np.testing.assert_allclose(integrate(c, i, nodes) @ z[nodes] ** power, expected, rtol=1e-7)


def test_corrector_is_predict_evaluate_correct():
    """UniPC's recursion written out: each state is redone with the answer at its prediction before the next step."""
    solver = solvers.multistep(2, corrector=True)
    x = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    from fewstep.core.solvers.basis import Basis
    from fewstep.core.solvers.multistep import integrate

    basis, corrected, predicted, answers = Basis("lambda").on(K), x.numpy(), x.numpy(), []
    for i in range(6):
        answers.insert(0, np.tanh(predicted))
        if i:
            nodes = list(range(i, max(i - 3, -1), -1))
            weights = integrate(basis, i - 1, nodes)
            corrected = K.s[i] / K.s[i - 1] * corrected + sum(w * d for w, d in zip(weights, answers, strict=False))
        nodes = list(range(i, max(i - 2, -1), -1))
        weights = integrate(basis, i, nodes)
        predicted = K.s[i + 1] / K.s[i] * corrected + sum(w * d for w, d in zip(weights, answers, strict=False))
    close(sample(_tanh, PATH, times=GRID, solver=solver, x=x).x.numpy(), predicted)


def test_names_tell_the_options():
    assert solvers.multistep(3, "trig", corrector=True).name == "multistep(3, 'trig', corrector=True, sigma_data=0.5)"
    assert solvers.multistep(2, eta=0.5).name == "multistep(2, 'lambda', eta=0.5)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.multistep(0), "order >= 1"),
        (lambda: solvers.multistep(2, "log"), "a basis out of lambda, eps, rho, trig, got 'log'"),
        (lambda: solvers.multistep(2, "trig", sigma_data=0.0), "sigma_data > 0"),
        (lambda: solvers.multistep(2, "rho", eta=1.0), "0 unless basis='lambda'"),
        (lambda: solvers.multistep(2, eta=-1.0), "eta >= 0"),
        (lambda: solvers.multistep(2, corrector=True, eta=1.0), "corrector needs a deterministic solver"),
        (lambda: solvers.dpmpp_2m("heun"), "variant 'midpoint' or 'taylor', got 'heun'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(UsageError, match=message):
        make()
