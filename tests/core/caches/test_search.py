"""The dynamic programme finds what trying every schedule finds."""

from itertools import combinations

import numpy as np
import pytest

from fewstep.core import caches
from fewstep.core.caches import Schedule
from fewstep.core.errors import UsageError


@pytest.mark.parametrize("rows", range(1, 10))
def test_dynamic_programme_is_brute_force(rows):
    random = np.random.default_rng(rows)
    cost = random.random((rows, rows)) ** 3
    for count in range(1, rows + 1):
        found = caches.segments(cost, count)
        tried = [Schedule(rows, (0, *rest)) for rest in combinations(range(1, rows), count - 1)]
        assert len(found.refresh) == count
        assert caches.total(cost, found) == pytest.approx(min(caches.total(cost, each) for each in tried), abs=1e-12)


def test_more_computed_rows_never_cost_more():
    cost = np.random.default_rng(0).random((30, 30))
    costs = [caches.total(cost, caches.segments(cost, count)) for count in range(1, 31)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 0


def test_what_lies_below_the_diagonal_is_not_read():
    cost = np.random.default_rng(0).random((8, 8))
    assert caches.segments(cost, 3) == caches.segments(np.triu(cost, 1) - np.tri(8), 3)


def test_rows_are_refreshed_where_features_change():
    feature = np.array([0, 0, 0, 5, 5, 5, 5, 9, 9, 9.0])
    cost = abs(feature[:, None] - feature)
    assert caches.segments(cost, 3).refresh == (0, 3, 7)


def test_sensitivity_moves_the_budget():
    feature = np.arange(10.0)
    errors = np.triu(abs(feature[:, None] - feature), 1)
    late = caches.weighted(errors, np.array([0, *[0.01] * 5, *[1.0] * 4]))
    assert np.allclose([late[t - 1, t] for t in range(1, 10)], [0.01] * 5 + [1.0] * 4)
    assert sum(row >= 5 for row in caches.segments(late, 5).refresh) == 4
    still = caches.weighted(np.zeros((4, 4)), np.ones(4))
    assert np.array_equal(still, np.zeros((4, 4)))


def test_bad_input():
    with pytest.raises(UsageError, match=r"square matrix of finite costs, got \(2, 3\)"):
        caches.segments(np.ones((2, 3)), 1)
    with pytest.raises(UsageError, match="square matrix of finite costs"):
        caches.segments(np.full((2, 2), np.nan), 1)
    with pytest.raises(UsageError, match="1 to 4 computed rows, got 5"):
        caches.segments(np.ones((4, 4)), 5)
