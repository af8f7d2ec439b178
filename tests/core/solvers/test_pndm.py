"""PNDM and momentum against their recursions, written out in the noise."""

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.momentum import ghvb_weights
from fewstep.core.solvers.pndm import ADAMS

PATH = paths.vp_linear()
GRID = times.uniform(PATH, 8, end=0.02)
K = knots(PATH, GRID)
SIGMA = K.s / K.a
X = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11)


def noise(scaled, i):
    """eps_hat at u/a = `scaled` and knot i."""
    return (scaled - np.tanh(K.a[i] * scaled)) / SIGMA[i]


def run(solver):
    return sample(lambda x, t: torch.tanh(x), PATH, times=GRID, solver=solver, x=X)


def test_s_pndm_is_its_algorithm():
    scaled, before = X.numpy() / K.a[0], None
    for i in range(8):
        now, step = noise(scaled, i), SIGMA[i + 1] - SIGMA[i]
        if i == 0:
            slope = (now + noise(scaled + step * now, 1)) / 2
        else:
            slope = (3 * now - before) / 2
        scaled, before = scaled + step * slope, now
    out = run(solvers.s_pndm())
    close(out.x, K.a[-1] * scaled)
    assert out.nfe == 9


def test_f_pndm_spends_nine_more_calls():
    table = solvers.f_pndm().tableau(PATH, GRID)
    assert (table.nfe, table.steps) == (17, 8)
    np.testing.assert_allclose(table.times[1], (GRID[0] + GRID[1]) / 2)
    short = solvers.f_pndm().tableau(PATH, times.uniform(PATH, 2))
    assert (short.nfe, short.steps) == (5, 2)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("make", [solvers.heavy_ball, solvers.ghvb])
def test_momentum_of_one_is_plms(make, order):
    ours, plain = make(order, beta=1.0).tableau(PATH, GRID), solvers.pndm(order, warmup="none").tableau(PATH, GRID)
    close(ours.history, plain.history)
    close(ours.state, plain.state)
    close(ours.mix, plain.mix)


@pytest.mark.parametrize(("make", "weights"), [(solvers.heavy_ball, ADAMS.get), (solvers.ghvb, None)])
def test_momentum_is_its_recursion(make, weights):
    beta, order = 0.7, 3
    weights = weights or (lambda n: ghvb_weights(n, beta))
    scaled, averages = X.numpy() / K.a[0], []
    for i in range(8):
        now = noise(scaled, i)
        averages.insert(0, now if i == 0 else (1 - beta) * averages[0] + beta * now)
        chosen = weights(min(i + 1, order))
        scaled = scaled + (SIGMA[i + 1] - SIGMA[i]) * sum(w * v for w, v in zip(chosen, averages, strict=False))
    close(run(make(order, beta=beta)).x, K.a[-1] * scaled)


@pytest.mark.parametrize("beta", [0.3, 0.8, 1.0])
def test_ghvb_weights(beta):
    """Those of the paper for order 2 and 3; and exact on averaged polynomials of lower degree than the order."""
    close(ghvb_weights(2, beta), np.array([2 + beta, -(2 - beta)]) / (2 * beta))
    close(ghvb_weights(3, beta), np.array([18 + 5 * beta, -(24 - 8 * beta), 6 - beta]) / (12 * beta))
    past = -np.arange(400.0)
    for order in (1, 2, 3, 4):
        for degree in range(order):
            eps = past**degree
            averages = [sum(beta * (1 - beta) ** k * eps[j + k] for k in range(390)) for j in range(order)]
            assert ghvb_weights(order, beta) @ averages == pytest.approx(1 / (degree + 1), abs=1e-8)


def stability_boundary(order, beta):
    """Largest real step z of u' = −z u on which plain weights with this average do not grow."""
    weights, n = ADAMS[order], order
    for z in np.linspace(0.05, 6, 400):
        now = np.zeros((n + 1, n + 1))
        average = np.zeros(n + 1)
        average[0], average[1] = beta, 1 - beta
        now[0] = -z * weights[0] * average
        now[0, 0] += 1
        for j in range(1, n):
            now[0, j] += -z * weights[j]
        now[1] = average
        for j in range(2, n + 1):
            now[j, j - 1] = 1
        if max(abs(np.linalg.eigvals(now))) > 1 + 1e-9:
            return z
    return np.inf


def test_momentum_widens_the_region_of_stability():
    boundaries = [stability_boundary(4, beta) for beta in (1.0, 0.8, 0.5)]
    assert boundaries[0] == pytest.approx(0.3, abs=0.02)
    assert boundaries[0] < boundaries[1] < boundaries[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.pndm(5), "order 1 to 4, got 5"),
        (lambda: solvers.pndm(warmup="long"), "warmup 'none', 'heun' or 'runge_kutta', got 'long'"),
        (lambda: solvers.ghvb(5), "order 1 to 4, got 5"),
        (lambda: solvers.heavy_ball(beta=0.0), r"beta in \(0, 1\], got 0.0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(UsageError, match=message):
        make()
