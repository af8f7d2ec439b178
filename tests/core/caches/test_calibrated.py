"""Caches made from a recorded run are exact where their assumption holds, and keep what they promise."""

import itertools

import numpy as np
import pytest
import torch

from fewstep.core import caches
from fewstep.core.caches import Cache, Newton, Reuse, Schedule
from fewstep.core.caches.search import bends, segments, united, walk
from fewstep.core.errors import UsageError
from tests.laws.cached import dit, grid
from tests.laws.cached import draw as sampled


def draw(net, **options):
    return sampled(net, **options).x


def test_a_recording_has_every_feature():
    net = dit()
    recorded = caches.record(net, lambda: draw(net), scope=caches.outputs(r"blocks\.\d\.mlp"), times=grid())
    assert recorded.sites == tuple(f"blocks.{i}.mlp" for i in range(5))
    assert (recorded.rows, len(recorded.tracks)) == (8, 5)
    assert all(len(list(recorded.of(site))) == 1 for site in range(5))
    assert torch.equal(recorded.end, draw(net))
    assert 0 < recorded.seconds <= 1
    matrix = recorded.matrix(3)
    assert np.array_equal(matrix, np.triu(matrix, 1))
    values = {row: value[0] for row, value in next(recorded.of(3)).items()}
    wanted = float((values[2] - values[6]).abs().sum() / values[6].abs().sum())
    assert matrix[2, 6] == pytest.approx(wanted, rel=1e-5)
    cosine = 1 - torch.nn.functional.cosine_similarity(values[2].flatten(), values[6].flatten(), dim=0)
    assert recorded.matrix(3, cosine=True)[2, 6] == pytest.approx(float(cosine), abs=1e-6)
    with pytest.raises(UsageError, match="two rows or more"):
        caches.record(net, lambda: draw(net, steps=1), scope="blocks")


class Line(torch.nn.Module):
    """An answer that is, per channel, an affine function of what was said before."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Identity()

    def forward(self, x, t):
        """[B, token, 3], [B] -> the same."""
        pattern = torch.linspace(-1, 1, x[0, :, 0].numel() * len(x)).view(len(x), -1, 1)
        rate = torch.tensor([1.0, -0.5, 2.0])
        return self.inner(pattern * (rate * t[:, None, None]).exp() + t[:, None, None])


@pytest.mark.parametrize("predictor", [Reuse(), Newton(1)], ids=str)
def test_rectification_is_exact_on_affine_features(predictor):
    net, schedule = Line(), Schedule(8, (0, 1, 5))
    scope = caches.outputs("inner")
    recorded = caches.record(net, lambda: draw(net), scope=scope, times=grid())
    correction = caches.rectified(recorded, schedule, predictor, channel=2)
    assert sorted(row for _, row in correction.table) == [2, 3, 4, 6, 7]
    with caches.attach(net, Cache(scope, schedule, predictor), times=grid()):
        assert not torch.allclose(draw(net), recorded.end, rtol=1e-3)
    with caches.attach(net, Cache(scope, schedule, predictor, correction), times=grid()):
        torch.testing.assert_close(draw(net), recorded.end, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="the recording has 8 rows, the schedule 9"):
        caches.rectified(recorded, Schedule(9, (0,)), predictor)


def test_ertacache():
    net = dit()
    never, times = caches.ertacache(net, lambda: draw(net), times=grid(), threshold=0.0, channel=2)
    assert never.policy.refresh == tuple(range(8))
    torch.testing.assert_close(times, grid().double())
    cache, times = caches.ertacache(net, lambda: draw(net), times=grid(), threshold=0.3, channel=2)
    assert 1 < len(cache.policy.refresh) < 8
    assert float(times[0]) == float(grid()[0])
    assert float(times[-1]) == float(grid()[-1])
    assert (times.diff() <= 0).all()
    assert times.diff()[-1].abs() > grid().diff()[-1].abs(), "what the others leave is made up for at the end"
    with caches.attach(net, cache, times=times) as attached:
        draw(net)
    assert attached.report.skips == 8 - len(cache.policy.refresh)


def test_cachequant_keeps_its_lengths():
    net = dit()
    cache = caches.cachequant(net, lambda: draw(net), scope="blocks", count=4, times=grid(), channel=2)
    assert len(cache.policy.refresh) == 4
    assert all(1 <= gap <= 4 for gap in np.diff([*cache.policy.refresh, 8]))
    with caches.attach(net, Cache("blocks", cache.policy), times=grid()):
        plain = draw(net)
    with caches.attach(net, cache, times=grid()):
        better = draw(net)
    full = draw(net)
    assert (better - full).norm() < (plain - full).norm()


def test_bac_gives_each_module_its_rows_and_lets_errors_bubble():
    net = dit()
    loose = caches.bac(net, lambda: draw(net), r"blocks\.\d\.mlp", count=3, times=grid(), bubbling=0)
    assert [len(cache.policy.refresh) for cache in loose] == [3] * 5
    tight = caches.bac(net, lambda: draw(net), r"blocks\.\d\.mlp", count=3, times=grid(), bubbling=5)
    for number, cache in enumerate(tight):
        later = set().union(*(other.policy.refresh for other in tight[number:]))
        assert set(cache.policy.refresh) == later
    with caches.attach(net, tight) as attached:
        draw(net)
    assert attached.report.skips == sum(8 - len(cache.policy.refresh) for cache in tight)


def test_profiling_dit_joins_neighbours():
    net = dit()
    with torch.no_grad():
        for number in (1, 2, 4):  # blocks whose addition never changes
            net.blocks[number].attn.weight.zero_()
            net.blocks[number].mlp[2].weight.zero_()
            net.blocks[number].attn.bias.fill_(0.0)
    found = caches.profiling_dit(net, lambda: draw(net), "blocks", cached=3, every=3, warmup=2, times=grid())
    assert [cache.places.describe() for cache in found] == ["delta of blocks[1:3]", "delta of blocks[4:5]"]
    full = draw(net)
    net.zero()
    with caches.attach(net, found, times=grid()):
        torch.testing.assert_close(draw(net), full, rtol=1e-4, atol=1e-5)
    assert net.calls == [8, 4, 4, 8, 4], "rows 0, 1, 2 and 5 of the cached"
    with pytest.raises(UsageError, match="expected 1 to 5 cached blocks, got 6"):
        caches.profiling_dit(net, lambda: draw(net), "blocks", cached=6)


def test_segments_keep_lengths_and_stay_best():
    generator = np.random.default_rng(0)
    cost = np.triu(generator.random((7, 7)), 1)

    def price(refresh):
        ends = (*refresh[1:], 7)
        return sum(cost[a, a + 1 : b].sum() for a, b in zip(refresh, ends, strict=True))

    def gaps(refresh):
        return np.diff([*refresh, 7])

    for shortest, longest in [(1, 3), (2, 4), (2, None)]:
        found = segments(cost, 3, shortest=shortest, longest=longest).refresh
        every = [(0, i, j) for i in range(1, 7) for j in range(i + 1, 7)]
        allowed = [r for r in every if gaps(r).min() >= shortest and gaps(r).max() <= (longest or 7)]
        assert price(found) == pytest.approx(min(map(price, allowed)))
        assert found in allowed
    with pytest.raises(UsageError, match="3 segments of 1 to 2 rows do not make 7 rows"):
        segments(cost, 3, longest=2)


def test_a_walk_keeps_every_reused_row_below_the_threshold():
    errors = np.triu(np.abs(np.subtract.outer(np.arange(9.0), np.arange(9.0))) * 0.1, 1)
    assert walk(errors, 0.25).refresh == (0, 3, 6)
    assert walk(errors, 0.0).refresh == tuple(range(9))
    assert walk(errors, 9.0).refresh == (0,)


def test_a_union_is_of_later_sites_only():
    schedules = [Schedule(6, rows) for rows in [(0, 2), (0, 3), (0, 5)]]
    assert [s.refresh for s in united(schedules, [0])] == [(0, 2, 3, 5), (0, 3), (0, 5)]
    assert [s.refresh for s in united(schedules, [1, 2])] == [(0, 2), (0, 3, 5), (0, 5)]


def test_the_programme_for_lines_is_best_of_all():
    rng = np.random.default_rng(3)
    n = 7
    cost, first = rng.random((n, n, n)), rng.random((n, n))

    def price(refresh):
        ends, wrong = [*refresh[1:], n], first[0, 1 : refresh[1]].sum()
        for before, here, after in zip(refresh, refresh[1:], ends[1:], strict=False):
            wrong += cost[before, here, here + 1 : after].sum()
        return wrong

    for count in (2, 3, 4, 7):
        every = [(0, *rest) for rest in itertools.combinations(range(1, n), count - 1)]
        found = bends(cost, first, count).refresh
        assert len(found) == count
        assert price(found) == pytest.approx(min(map(price, every)))
    with pytest.raises(UsageError, match="2 <= count <= n"):
        bends(cost, first, 1)


def test_lines_of_a_recording():
    net = dit()
    recorded = caches.record(net, lambda: draw(net), scope=caches.span("blocks"), times=grid())
    lines, at = recorded.lines(), recorded.times
    (track,) = recorded.of(0)
    reach = (at[6] - at[4]) / (at[4] - at[1])
    line = track[4][0] + reach * (track[4][0] - track[1][0])
    wanted = float((track[6][0] - line).abs().sum() / track[6][0].abs().sum())
    assert lines[1, 4, 6] == pytest.approx(wanted, rel=1e-4)
    measured = caches.profile(net, lambda: draw(net), scope=caches.span("blocks"), times=grid())
    scale = measured.sensitivity[6] / measured.errors[5, 6]
    assert measured.line_cost[1, 4, 6] == pytest.approx(wanted * scale, rel=1e-3)
