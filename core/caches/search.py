"""Which rows to compute: dynamic programming over segments, each predicted from its first row.

With W[a, t] what it costs to predict row t from row a, a segment [a, b) costs the sum of W[a, t] over a < t < b, and
the best k segments of n rows come from best(k, b) = min over a of best(k − 1, a) + cost(a, b), in O(n² k).
"""

from collections.abc import Collection, Sequence

import numpy as np

from fewstep.core.caches.policy import Schedule
from fewstep.core.errors import UsageError


def weighted(errors: np.ndarray, sensitivity: np.ndarray) -> np.ndarray:
    """Errors of features as errors of the end point, W[a, t] = sensitivity_t E[a, t] / E[t − 1, t].

    Parameters
    ----------
    errors
        E[a, t]: relative error of the feature at row t if row a's is used, [rows, rows]; read above the diagonal.
    sensitivity
        Relative error at the end of a run in which only row t used its predecessor's, [rows]; the first is not read.

    Returns
    -------
    numpy.ndarray
        [rows, rows], 0 on and below the diagonal and where the feature did not change.
    """
    rows = len(errors)
    near = np.array([errors[t - 1, t] if t else 0.0 for t in range(rows)])
    scale = np.divide(sensitivity, near, out=np.zeros(rows), where=near > 0)
    return np.triu(np.asarray(errors, dtype=np.float64) * scale, 1)


def segments(cost: np.ndarray, count: int, *, shortest: int = 1, longest: int | None = None) -> Schedule:
    """The rows to compute, so that the rest costs least.

    Parameters
    ----------
    cost
        W[a, t] >= 0, [rows, rows]; read above the diagonal.
    count
        Rows that are computed, 1 to rows.
    shortest, longest
        Rows from one computed row to the next, or to the end.

    Returns
    -------
    Schedule

    Raises
    ------
    UsageError
        If the matrix is not square and finite, the count out of range, or the lengths cannot be kept.
    """
    cost = np.asarray(cost, dtype=np.float64)
    rows = len(cost)
    if cost.shape != (rows, rows) or not np.isfinite(cost).all():
        raise UsageError(f"expected a square matrix of finite costs, got {cost.shape}")
    if not 1 <= count <= rows:
        raise UsageError(f"expected a budget of 1 to {rows} computed rows, got {count}")
    whole = np.full((rows, rows + 1), np.inf)
    for a in range(rows):
        sums = np.concatenate([[0.0], np.cumsum(cost[a, a + 1 :])])
        whole[a, a + shortest : (rows if longest is None else a + longest) + 1] = sums[shortest - 1 : longest]
    best, came = whole[0].copy(), []
    for _ in range(count - 1):
        through = best[:rows, None] + whole
        came.append(through.argmin(0))
        best = through.min(0)
    if not np.isfinite(best[rows]):
        raise UsageError(f"{count} segments of {shortest} to {longest or rows} rows do not make {rows} rows")
    end, refresh = rows, []
    for sources in reversed(came):
        end = int(sources[end])
        refresh.append(end)
    return Schedule(rows, (0, *reversed(refresh)))


def total(cost: np.ndarray, schedule: Schedule) -> float:
    """What a schedule costs under `cost`, the quantity that `segments` makes least."""
    ends = (*schedule.refresh[1:], schedule.rows)
    return float(sum(cost[a, a + 1 : b].sum() for a, b in zip(schedule.refresh, ends, strict=True)))


def bends(cost: np.ndarray, first: np.ndarray, count: int) -> Schedule:
    """The rows to compute, so that lines through the last two of them cost least.

    The state of the programme is the last two computed rows, in O(n³ k).

    Parameters
    ----------
    cost
        W[a, b, t] >= 0 of predicting row t by the line through a < b, [rows, rows, rows].
    first
        W[a, t] of reusing row a, [rows, rows]; read for a = 0, as long as there is one computed row only.
    count
        Rows that are computed, 2 to rows.

    Returns
    -------
    Schedule

    Raises
    ------
    UsageError
        If the shapes differ, or the count is out of range.
    """
    rows = len(cost)
    if cost.shape != (rows,) * 3 or first.shape != (rows, rows) or not 2 <= count <= rows:
        raise UsageError(
            f"expected costs [n, n, n] and [n, n] and 2 <= count <= n: {cost.shape}, {first.shape}, {count}"
        )
    until = np.full((rows, rows, rows + 1), np.inf)  # rows a and b computed, then nothing before c
    for a in range(rows):
        for b in range(a + 1, rows):
            until[a, b, b + 1 :] = np.concatenate([[0.0], np.cumsum(cost[a, b, b + 1 :])])
    best = np.full((rows, rows), np.inf)
    best[0, 1:] = np.concatenate([[0.0], np.cumsum(first[0, 1:-1])])
    came = []
    for _ in range(count - 2):
        through = best[:, :, None] + until[:, :, :rows]
        came.append(through.argmin(0))
        best = through.min(0)
    ends = best + until[:, :, rows]
    a, b = (int(i) for i in np.unravel_index(ends.argmin(), ends.shape))
    refresh = [b, a]
    for sources in reversed(came):
        a, b = int(sources[a, b]), a
        refresh.append(a)
    return Schedule(rows, tuple(reversed(refresh)))


def walk(errors: np.ndarray, threshold: float) -> Schedule:
    """Keep a row's feature as long as it is near enough to what each later row would say.

    Parameters
    ----------
    errors
        E[a, t], [rows, rows], see `weighted`.
    threshold
        Rows with E below it are predicted from the last computed one; 0 computes all.

    Returns
    -------
    Schedule

    References
    ----------
    Peng et al. 2025, arXiv:2508.21091, the offline policy.
    """
    refresh = [0]
    for t in range(1, len(errors)):
        if not errors[refresh[-1], t] < threshold:
            refresh.append(t)
    return Schedule(len(errors), tuple(refresh))


def united(schedules: Sequence[Schedule], bubbling: Collection[int]) -> list[Schedule]:
    """Let some sites compute wherever a later one does, for errors grow on their way down a net.

    Parameters
    ----------
    schedules
        One per site, in the order in which they run.
    bubbling
        Numbers of the sites that follow all later ones.

    Returns
    -------
    list of Schedule

    References
    ----------
    Zeng et al. 2026 (block-wise adaptive caching), the bubbling union.
    """
    found = []
    for number, schedule in enumerate(schedules):
        rows = set(schedule.refresh)
        if number in bubbling:
            rows = rows.union(*(later.refresh for later in schedules[number + 1 :]))
        found.append(Schedule(schedule.rows, tuple(sorted(rows))))
    return found
