"""Predictors as numbers: exact for polynomials, and for constants whatever the grid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewstep.core.caches import Newton, Reuse, Taylor
from fewstep.core.errors import UsageError

gaps = st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6)


def grid(steps):
    """Coordinates, the newest first, and where to predict."""
    at = [0.0]
    for step in steps:
        at.append(at[-1] + step)
    return at, -0.4


def predicted(predictor, at, to, of):
    return sum(w * of(x) for w, x in zip(predictor.weights(at, to), at, strict=True))


@given(gaps, st.integers(0, 4))
def test_newton_is_exact_for_polynomials_of_its_order_on_any_grid(steps, order):
    at, to = grid(steps)
    degree = min(order, len(steps))
    for power in range(degree + 1):
        assert predicted(Newton(order), at, to, lambda x, p=power: (x + 1) ** p) == pytest.approx((to + 1) ** power)


def test_newton_is_not_exact_beyond_its_order():
    at, to = grid([0.3, 0.2, 0.4, 0.1])
    for order in (0, 1, 2, 3):
        power = order + 1
        assert abs(predicted(Newton(order), at, to, lambda x, p=power: x**p) - to**power) > 1e-3


@given(gaps, st.integers(0, 4))
def test_newton_is_the_sum_of_divided_differences(steps, order):
    at, to = grid(steps)
    values = [1 / (2 + x) for x in at]

    def divided(i, j):
        return values[i] if i == j else (divided(i, j - 1) - divided(i + 1, j)) / (at[i] - at[j])

    total, product = 0.0, 1.0
    for k in range(min(order + 1, len(at))):
        total += divided(0, k) * product
        product *= to - at[k]
    assert predicted(Newton(order), at, to, lambda x: 1 / (2 + x)) == pytest.approx(total, rel=1e-6)


@given(gaps, st.integers(0, 4))
def test_every_predictor_keeps_a_constant(steps, order):
    at, to = grid(steps)
    for predictor in (Reuse(), Newton(order), Taylor(order)):
        assert sum(predictor.weights(at, to)) == pytest.approx(1)


def test_taylor_is_exact_for_lines_only():
    even, to = grid([0.5, 0.5, 0.5])
    assert predicted(Taylor(1), even, to, lambda x: 3 * x - 1) == pytest.approx(3 * to - 1)
    assert predicted(Taylor(2), even, to, lambda x: 3 * x - 1) == pytest.approx(3 * to - 1)
    assert abs(predicted(Taylor(2), even, to, lambda x: x * x) - to * to) > 0.01


@given(gaps)
def test_taylor_is_the_papers_recursion(steps):
    """Derivatives kept from one computed row to the next, d_{k+1} = (d_k - d_k^old) / gap."""
    at, to = grid(steps)
    order, old, last = 3, [], None
    for x in reversed(at):
        new = [1 / (2 + x)]
        for k in range(min(order, len(old))):
            new.append((new[k] - old[k]) / (x - last))
        old, last = new, x
    h, total, factor = to - at[0], 0.0, 1.0
    for k, d in enumerate(old):
        factor = factor if k == 0 else factor * h / k
        total += d * factor
    assert predicted(Taylor(order), at, to, lambda x: 1 / (2 + x)) == pytest.approx(total, rel=1e-6, abs=1e-8)


def test_reuse_takes_the_newest():
    assert Reuse().weights([0.0, 1.0], 5.0) == [1.0, 0.0]


def test_negative_order():
    with pytest.raises(UsageError, match="order >= 0, got -1"):
        Newton(-1)
