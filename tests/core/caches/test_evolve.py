"""The genetic search finds the true front of problems whose front is known."""

import itertools

import numpy as np
import pytest

from fewstep.core import caches
from fewstep.core.caches.evolve import nsga2
from fewstep.core.errors import UsageError
from tests.laws.cached import dit, grid
from tests.laws.cached import draw as sampled


def draw(net, **options):
    return sampled(net, **options).x


def test_the_front_of_an_additive_problem():
    """Error falls by a weight for each bit: the front takes bits by their weight."""
    weights = np.array([[0, 0, 0], [8, 1, 4], [2, 16, 0.5]])

    def judge(table):
        return float(table.sum()), float((weights * ~table).sum())

    tables = []
    for bits in itertools.product([False, True], repeat=6):
        tables.append(np.array([True] * 3 + list(bits)).reshape(3, 3))
    best = {}
    for table in tables:
        cost, error = judge(table)
        best[cost] = min(error, best.get(cost, np.inf))
    rng = np.random.default_rng(0)
    found = nsga2(judge, [tables[0], tables[-1]], population=16, generations=40, rng=rng)
    assert {scores[0]: scores[1] for _, scores in found} == best
    assert all(table[0].all() for table, _ in found)


def test_a_table_is_judged_once_and_its_first_row_is_mended():
    asked = []

    def judge(table):
        asked.append(table.tobytes())
        return float(table.sum()), float(-table.sum())

    nsga2(judge, [np.zeros((3, 2), bool)], population=4, generations=5, rng=np.random.default_rng(1))
    assert len(asked) == len(set(asked))
    with pytest.raises(UsageError, match="a population of 2 or more and tables to begin with"):
        nsga2(judge, [], population=4, generations=1, rng=np.random.default_rng(1))


def test_ecad_trades_calls_for_error():
    net = dit(depth=2)
    front = caches.ecad(net, lambda: draw(net, steps=5), r"blocks\.\d\.mlp", times=grid(5), population=6, generations=3)
    assert [f.cost for f in front] == sorted(f.cost for f in front)
    assert [f.error for f in front] == sorted((f.error for f in front), reverse=True)
    assert (front[-1].cost, front[-1].error) == (1.0, 0.0)
    with caches.attach(net, front[0].caches, times=grid(5)) as attached:
        again = draw(net, steps=5)
    full = draw(net, steps=5)
    assert float((again - full).norm() / full.norm()) == pytest.approx(front[0].error)
    assert 1 - attached.report.skips / attached.report.visits == pytest.approx(front[0].cost)
