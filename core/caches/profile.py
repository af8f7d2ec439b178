"""Profile, then search: measure on a few trajectories what reuse would cost, and spend a budget of calls where it pays.

E[a, t] is the relative l1 error of the feature at row t if row a's stood in for it; lambda_t the error at the end of a
run in which row t alone used its predecessor's (HarmoniCa's image-error proxy, Huang et al. 2024, arXiv:2410.01723).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewstep.core.caches.attach import attach
from fewstep.core.caches.cache import Cache
from fewstep.core.caches.policy import Every, Schedule
from fewstep.core.caches.predictor import Newton, Reuse
from fewstep.core.caches.search import segments, weighted
from fewstep.core.errors import UsageError


@dataclass(frozen=True, eq=False)
class Profile:
    """What was measured.

    Parameters
    ----------
    errors
        E[a, t], [rows, rows], mean over sites and branches.
    sensitivity
        lambda_t, [rows], 0 at the first.
    """

    errors: np.ndarray
    sensitivity: np.ndarray

    @property
    def cost(self) -> np.ndarray:
        """W[a, t], see `fewstep.core.caches.search.weighted`."""
        return weighted(self.errors, self.sensitivity)


def profile(net: nn.Module, run: Callable[[], Tensor], *, scope: Any, times: Any = None) -> Profile:
    """Measure error matrices and end-point sensitivity.

    Parameters
    ----------
    net
        What `run` calls.
    run
        Draws the same few samples each time (2 to 8, fixed seeds) through `sample`, and returns them, [batch, ...].
    scope
        As for `Cache`.
    times
        As for `attach`.

    Returns
    -------
    Profile
        After one run that records and one per row.

    Raises
    ------
    UsageError
        If a run has fewer than two rows, or says something else the second time.
    """
    features: dict[Any, dict[int, Tensor]] = {}
    reference = _record(net, run, scope, times, features)
    rows = 1 + max((row for track in features.values() for row in track), default=0)
    if rows < 2:
        raise UsageError("expected runs of two rows or more, through sample() and with gradients off")
    always = _end(net, run, Cache(scope, Every(1)), times)
    if not torch.equal(always, reference):
        raise UsageError("two runs differ: `run` must draw with fixed seeds")
    sensitivity = np.zeros(rows)
    for t in range(1, rows):
        all_but = Schedule(rows, tuple(row for row in range(rows) if row != t))
        sensitivity[t] = relative(_end(net, run, Cache(scope, all_but), times), reference)
    matrices = [_matrix(track, rows) for track in features.values()]
    return Profile(np.mean(matrices, axis=0), sensitivity)


def tune(
    net: nn.Module, run: Callable[[], Tensor], *, scope: Any, budget: int | float, times: Any = None, **options: Any
) -> Cache:
    """The recommended cache: profile, search, and verify.

    Parameters
    ----------
    net, run, scope, times
        As for `profile`.
    budget, options
        As for `pick`.

    Returns
    -------
    Cache
        Serves runs of the same rows; `fewstep.core.caches.store.save` keeps it.

    Raises
    ------
    UsageError
        If the budget is out of range, or `run` is not as described.
    """
    _count(budget, 2)
    measured = profile(net, run, scope=scope, times=times)
    return pick(net, run, measured, scope=scope, budget=budget, times=times, **options)


def pick(
    net: nn.Module,
    run: Callable[[], Tensor],
    measured: Profile,
    *,
    scope: Any,
    budget: int | float,
    times: Any = None,
    **options: Any,
) -> Cache:
    """Of the sensitivity-weighted programme and evenly spaced rows, each with reuse and a line, what ends nearest.

    The programme minimises what reuse costs; where features move along lines, extrapolation from even rows may be
    better than either, and only a run can tell.

    Parameters
    ----------
    net, run, scope, times
        As for `profile`.
    measured
        What `profile` said.
    budget
        Rows that are computed: a count, or a share of all rows in (0, 1).
    options
        Further arguments of `Cache`; a predictor stands for both.

    Returns
    -------
    Cache
        After five runs, or three with a predictor.

    Raises
    ------
    UsageError
        If the budget is out of range.
    """
    rows = len(measured.sensitivity)
    count = _count(budget, rows)
    schedules = segments(measured.cost, count), Schedule(rows, tuple(i * rows // count for i in range(count)))
    predictors = (options.pop("predictor"),) if "predictor" in options else (Reuse(), Newton(1))
    tried = [Cache(scope, each, predictor, **options) for each in schedules for predictor in predictors]
    reference = run()
    errors = [relative(_end(net, run, cache, times), reference) for cache in tried]
    return tried[errors.index(min(errors))]


def _count(budget: int | float, rows: int) -> int:
    if isinstance(budget, float) and not 0 < budget < 1:
        raise UsageError(f"expected a budget in calls (int) or a share in (0, 1), got {budget}")
    return budget if isinstance(budget, int) else max(1, round(budget * rows))


def relative(x: Tensor, reference: Tensor) -> float:
    """Relative l2 error of a sample.

    Parameters
    ----------
    x, reference
        The same shape.

    Returns
    -------
    float
    """
    return float(torch.linalg.vector_norm(x - reference) / torch.linalg.vector_norm(reference))


def _record(net: nn.Module, run: Callable[[], Tensor], scope: Any, times: Any, features: dict[Any, Any]) -> Tensor:
    def listen(track: Any, row: int, value: Tensor) -> None:
        features.setdefault(track, {})[row] = value

    with attach(net, Cache(scope, Every(1)), times=times) as attached:
        attached.listen = listen
        return run()


def _end(net: nn.Module, run: Callable[[], Tensor], cache: Cache, times: Any) -> Tensor:
    with attach(net, cache, times=times):
        return run()


def _matrix(track: dict[int, Tensor], rows: int) -> np.ndarray:
    errors = np.zeros((rows, rows))
    for t, value in track.items():
        size = float(value.abs().sum())
        for a, other in track.items():
            if a < t and size > 0:
                errors[a, t] = float((value - other).abs().sum()) / size
    return errors
