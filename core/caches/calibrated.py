"""Published caches that are made from a recorded run: ERTACache, CacheQuant, block-wise adaptive, ProfilingDiT.

Each records full runs (`fewstep.core.caches.record`), which takes the memory of all features of the scope.
"""

import re
from collections.abc import Callable
from itertools import groupby
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core.caches.cache import Cache
from fewstep.core.caches.correction import Affine, affine, rescaled
from fewstep.core.caches.memory import History
from fewstep.core.caches.policy import Every, Schedule, Window
from fewstep.core.caches.predictor import Predictor, Reuse
from fewstep.core.caches.record import Recording, record
from fewstep.core.caches.scope import deltas, named, outputs, span, whole
from fewstep.core.caches.search import segments, united, walk
from fewstep.core.errors import UsageError

Run = Callable[[], Tensor]


def rectified(recorded: Recording, schedule: Schedule, predictor: Predictor, *, channel: int = 1) -> Affine:
    """Numbers of `Affine` that bring each prediction of a schedule nearest to what was recorded.

    Parameters
    ----------
    recorded
        Features that are single tensors.
    schedule, predictor
        Of the cache.
    channel
        Dimension of the channels.

    Returns
    -------
    Affine
        For each predicted row and site, over all branches together.

    Raises
    ------
    UsageError
        If the schedule is of another length, or the features are several tensors each.
    """
    if schedule.rows != recorded.rows:
        raise UsageError(f"the recording has {recorded.rows} rows, the schedule {schedule.rows}")
    table = {}
    for number, name in enumerate(recorded.sites):
        for row in sorted(set(range(schedule.rows)) - set(schedule.refresh)):
            pairs = [_pair(track, recorded, schedule, predictor, row) for track in recorded.of(number)]
            if pairs:
                predicted, actual = (torch.cat(part) for part in zip(*pairs, strict=True))
                table[name, row] = affine(predicted, actual, channel=channel)
    return Affine(table)


def ertacache(
    net: nn.Module, run: Run, *, times: Any, threshold: float = 0.1, scope: Any = None, channel: int = 1
) -> tuple[Cache, Tensor]:
    """ERTACache: reuse the net's residual where it stays near, rectified, on a grid that steps less there.

    On our benchmark (see `fewstep.core.caches.presets`; without the changed grid) it just beats fewer steps: .0356
    (.0398) at five times the speed.

    Parameters
    ----------
    net, run, times
        As for `record`; `times` are those of `run`, one row per step.
    threshold
        Relative l1 error up to which a feature is reused.
    scope
        Default: what the whole net adds to its first argument.
    channel
        Dimension of the channels.

    Returns
    -------
    cache : Cache
    times : Tensor
        The grid to sample on, float64.

    References
    ----------
    Peng et al. 2025, arXiv:2508.21091.
    """
    scope = whole(what="delta") if scope is None else scope
    recorded = record(net, run, scope=scope, times=times)
    schedule = walk(recorded.matrix(), threshold)
    answers = recorded if scope == whole() else record(net, run, scope=whole(), times=times)
    cache = Cache(scope, schedule, Reuse(), rectified(recorded, schedule, Reuse(), channel=channel))
    return cache, rescaled(times, _shortened(answers, recorded, schedule))


def cachequant(net: nn.Module, run: Run, *, scope: Any, count: int, times: Any = None, channel: int = 1) -> Cache:
    """CacheQuant's schedule and error correction, without the quantisation.

    On our benchmark, on branch 1 of two U-Nets, it beats fewer steps: .0140 (.1266) and .0195 (.0246).

    Groups of rows have half to twice the mean length; what reuse costs is the l1 distance to the group's first row.

    Parameters
    ----------
    net, run, scope, times
        As for `record`.
    count
        Rows that are computed.
    channel
        Dimension of the channels.

    Returns
    -------
    Cache

    References
    ----------
    Liu et al. 2025, arXiv:2503.01323.
    """
    recorded = record(net, run, scope=scope, times=times)
    interval = recorded.rows / count
    schedule = segments(recorded.matrix(), count, shortest=max(1, int(interval / 2)), longest=ceil(2 * interval))
    return Cache(scope, schedule, Reuse(), rectified(recorded, schedule, Reuse(), channel=channel))


def bac(
    net: nn.Module, run: Run, pattern: str, *, count: int, times: Any = None, bubbling: int = 5
) -> tuple[Cache, ...]:
    """Block-wise adaptive caching: a schedule per module by cosine similarity, and a union for the worst modules.

    On our benchmark it loses to fewer steps: .0184 (.0094).

    Parameters
    ----------
    net, run, times
        As for `record`.
    pattern
        Of the modules, see `fewstep.core.caches.outputs`.
    count
        Rows that each module computes before the union.
    bubbling
        How many modules, those whose features change most, compute wherever a later one does.

    Returns
    -------
    tuple of Cache
        For one `attach`.

    References
    ----------
    Block-wise adaptive caching (BAC), ICLR 2026: adaptive caching scheduler and bubbling union.
    """
    recorded = record(net, run, scope=outputs(pattern), times=times)
    sites = range(len(recorded.sites))
    schedules = [segments(recorded.matrix(site, cosine=True), count) for site in sites]
    change = {site: float(recorded.matrix(site).mean()) for site in sites}
    worst = sorted(sites, key=lambda site: -change[site])[:bubbling]
    return tuple(
        Cache(outputs(re.escape(name)), schedule)
        for name, schedule in zip(recorded.sites, united(schedules, worst), strict=True)
    )


def profiling_dit(
    net: nn.Module, run: Run, blocks: str, *, cached: int, every: int = 4, warmup: int = 5, times: Any = None
) -> tuple[Cache, ...]:
    """ProfilingDiT: leave the blocks out that change least from row to row, neighbours together.

    The paper tells background from foreground blocks by their attention maps, with code that is not public; here the
    blocks are ranked by how far `every` rows move what they add. On our benchmark it loses to fewer steps: .0242
    (.0095).

    Parameters
    ----------
    net, run, times
        As for `record`.
    blocks
        The list of blocks.
    cached
        How many of them are left out between computed rows.
    every, warmup
        Interval of computed rows, and rows computed first.

    Returns
    -------
    tuple of Cache
        For one `attach`.

    Raises
    ------
    UsageError
        If there are not so many blocks.

    References
    ----------
    ProfilingDiT, ICCV 2025.
    """
    found = len(named(net, blocks))
    if not 1 <= cached <= found:
        raise UsageError(f"expected 1 to {found} cached blocks, got {cached}")
    recorded = record(net, run, scope=deltas(blocks), times=times)
    apart = min(every, recorded.rows - 1)
    moved = [float(recorded.matrix(site).diagonal(apart).mean()) for site in range(found)]
    calm = sorted(sorted(range(found), key=lambda site: moved[site])[:cached])
    runs = [[site for _, site in group] for _, group in groupby(enumerate(calm), key=lambda pair: pair[1] - pair[0])]
    policy = Window(Every(every), warmup)
    return tuple(Cache(span(blocks, group[0], group[-1] + 1), policy) for group in runs)


def _source(schedule: Schedule, row: int) -> int:
    return max(refresh for refresh in schedule.refresh if refresh <= row)


def _pair(track: Any, recorded: Recording, schedule: Schedule, predictor: Predictor, row: int) -> tuple[Tensor, Tensor]:
    """What would be predicted at a row from what was recorded, and what was recorded."""
    if len(track[row]) != 1:
        raise UsageError("features of several tensors are not rectified: cache spans that hand on one tensor")
    history = History(track[row][0].shape)
    for computed in schedule.refresh:
        if computed < row:
            history.push(track[computed], recorded.times[computed], predictor.depth)
    return history.predict(predictor, recorded.times[row])[0], track[row][0]


def _shortened(answers: Recording, recorded: Recording, schedule: Schedule) -> dict[int, float]:
    """phi_i = 1 − |v~_i − v_i| / |v_i − v_{i+1}| of the rows that reuse, in [0, 1]; the last step keeps its length."""
    phi = {}
    for row in range(1, answers.rows - 1):
        source = _source(schedule, row)
        if source != row:
            wrong = sum(float((t[source][0] - t[row][0]).abs().sum()) for t in recorded.tracks.values())
            moved = sum(float((t[row][0] - t[row + 1][0]).abs().sum()) for t in answers.tracks.values())
            phi[row] = min(max(1 - wrong / moved, 0.0), 1.0) if moved > 0 else 1.0
    return phi
