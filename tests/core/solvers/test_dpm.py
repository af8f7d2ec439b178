"""DPM-Solver, DPM-Solver++ and their SDE variants against the formulas of their papers, re-derived here."""

import math

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers.knots import knots

PATH = paths.vp_linear()
GRID = times.karras(PATH, 6, zero=False)
K = knots(PATH, GRID)
H = np.diff(K.lam)
X = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)


def close(got, expected, tolerance=1e-11):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def tanh(x, t):
    return torch.tanh(x) + t


def same(one, other, grid=GRID, tolerance=1e-11):
    one, other = one.tableau(PATH, grid), other.tableau(PATH, grid)
    depth = min(one.history.shape[1], other.history.shape[1])
    for name in ("state", "noise", "mix"):
        close(getattr(one, name), getattr(other, name), tolerance)
    close(one.history[:, :depth], other.history[:, :depth], tolerance)
    assert not one.history[:, depth:].any()
    assert not other.history[:, depth:].any()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (solvers.dpmpp_1(), solvers.ddim()),
        (solvers.dpmpp_2m("taylor"), solvers.multistep(2)),
        (solvers.dpmpp_3m(), solvers.multistep(3)),
        (solvers.dpm_solver(1), solvers.multistep(1, "eps")),
        (solvers.dpm_solver(2, "taylor"), solvers.multistep(2, "eps")),
        (solvers.dpm_solver(3), solvers.multistep(3, "eps")),
        (solvers.sde_dpmpp_1(0.4), solvers.sde_euler(0.4)),
        (solvers.seeds(1, eta=0.4), solvers.sde_euler(0.4)),
        (solvers.sde_dpmpp_2m("taylor", eta=0.4), solvers.multistep(2, eta=0.4)),
        (solvers.sde_dpmpp_3m(eta=0.4), solvers.multistep(3, eta=0.4)),
        (solvers.sde_dpmpp_2m(eta=0.0), solvers.dpmpp_2m()),
        (solvers.sde_dpmpp_3m("published", eta=0.0), solvers.dpmpp_3m("published")),
        (solvers.seeds(2, eta=0.0), solvers.dpmpp_2s("taylor")),
    ],
    ids=lambda solver: getattr(solver, "name", ""),
)
@pytest.mark.parametrize("grid", [GRID, times.uniform_logsnr(PATH, 5)], ids=["uneven", "even"])
def test_presets_are_the_same_numbers(one, other, grid):
    if grid is not GRID and "3" in one.name:
        grid = times.uniform_logsnr(PATH, 5, zero=False)
    same(one, other, grid)


def test_published_third_order_has_half_of_the_second_difference():
    """Twice the exact curve's term minus once: published = exact − J_2 d2."""
    exact, published = (solvers.dpmpp_3m(v).tableau(PATH, GRID).history for v in ("exact", "published"))
    h, before, last = H[3], H[2], H[1]
    curve = K.a[4] * (h**2 / 2 - h - math.expm1(-h))
    newest, older = np.array([1, -1, 0]) / before, np.array([0, 1, -1]) / last
    close(exact[3] - published[3], curve * (newest - older) / (before + last))


def test_final_steps_are_of_lower_order_as_published():
    table = solvers.dpmpp_3m(final="lower").tableau(PATH, GRID)
    same_orders = solvers.dpmpp_3m().tableau(PATH, GRID)
    assert np.count_nonzero(table.history, axis=1).tolist() == [1, 2, 3, 3, 2, 1]
    assert np.count_nonzero(same_orders.history, axis=1).tolist() == [1, 2, 3, 3, 3, 3]
    to_zero = solvers.dpmpp_3m().tableau(PATH, times.karras(PATH, 6))
    assert np.count_nonzero(to_zero.history, axis=1).tolist() == [1, 2, 3, 3, 2, 1]
    full = solvers.dpmpp_3m(final="full").tableau(PATH, times.karras(PATH, 6))
    assert np.count_nonzero(full.history, axis=1).tolist() == [1, 2, 3, 3, 3, 1]


def test_2s_is_algorithm_1():
    x = X
    for i in range(6):
        h, middle = H[i], float(PATH.inverse((K.lam[i] + K.lam[i + 1]) / 2))
        a, _, s = (float(value) for value in PATH.coefficients(middle))
        now = tanh(x, K.times[i])
        inner = s / K.s[i] * x - a * math.expm1(-h / 2) * now
        x = K.s[i + 1] / K.s[i] * x - K.a[i + 1] * math.expm1(-h) * tanh(inner, middle)
    out = sample(tanh, PATH, times=GRID, solver=solvers.dpmpp_2s(), x=X)
    close(out.x, x)
    assert out.nfe == 12


def test_dpm_solver_3_is_algorithm_2():
    """Noise prediction at 0, 1/3 and 2/3 of the step in lam."""
    x = X

    def noise(x, t):
        a, _, s = (float(value) for value in PATH.coefficients(t))
        return (x - a * tanh(x, t)) / s

    for i in range(6):
        h = H[i]
        first, second = (float(PATH.inverse(K.lam[i] + r * h)) for r in (1 / 3, 2 / 3))
        (a1, _, s1), (a2, _, s2) = ([float(v) for v in PATH.coefficients(t)] for t in (first, second))
        e = noise(x, K.times[i])
        d1 = noise(a1 / K.a[i] * x - s1 * math.expm1(h / 3) * e, first) - e
        inner = (
            a2 / K.a[i] * x - s2 * math.expm1(2 * h / 3) * e - 2 * s2 * (math.expm1(2 * h / 3) / (2 * h / 3) - 1) * d1
        )
        d2 = noise(inner, second) - e
        x = K.a[i + 1] / K.a[i] * x - K.s[i + 1] * (math.expm1(h) * e + 1.5 * (math.expm1(h) / h - 1) * d2)
    out = sample(tanh, PATH, times=GRID, solver=solvers.dpm_solver_3s(), x=X)
    close(out.x, x, 1e-9)
    assert out.nfe == 18


@pytest.mark.parametrize(("n", "sizes"), [(1, [1]), (4, [3, 1]), (5, [3, 1, 1]), (6, [3, 2, 1]), (7, [3, 3, 1])])
def test_groups_on_the_grid(n, sizes):
    from fewstep.core.solvers.basis import Basis
    from fewstep.core.solvers.singlestep import groups

    c = Basis("lambda").on(knots(PATH, times.uniform_logsnr(PATH, n)))
    assert [size for _, size in groups(c, 3)] == sizes
    starts = [start for start, _ in groups(c, 3)]
    assert starts == np.cumsum([0, *sizes[:-1]]).tolist()


def test_seeds_keeps_one_brownian_path():
    """Variance of the whole step's noise is that of the exact step, although it is drawn in two halves."""
    table = solvers.seeds(2).tableau(PATH, GRID)
    whole = solvers.sde_euler().tableau(PATH, GRID)
    first, second = table.noise[::2], table.noise[1::2]
    close(np.hypot(table.state[1::2] * first, second), whole.noise)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.dpmpp_2m(final="none"), "final 'smooth', 'lower' or 'full', got 'none'"),
        (lambda: solvers.dpmpp_3m("taylor"), "variant 'exact' or 'published', got 'taylor'"),
        (lambda: solvers.dpmpp_2s("exact"), "variant 'midpoint' or 'taylor', got 'exact'"),
        (lambda: solvers.dpmpp_2s(stages="end"), "stages 'middle' or 'grid', got 'end'"),
        (lambda: solvers.dpm_solver(4), "order 1, 2 or 3, got 4"),
        (lambda: solvers.seeds(3), "order 1 or 2, got 3"),
        (lambda: solvers.sde_dpmpp_2m(eta=-1.0), "eta >= 0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(UsageError, match=message):
        make()
