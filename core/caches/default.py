"""The recommended cache: profile, search for the rows where a budget of calls pays, and verify at the end point."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from fewstep.core.caches.cache import Cache
from fewstep.core.caches.policy import Schedule
from fewstep.core.caches.predictor import Newton, Reuse
from fewstep.core.caches.profile import Profile, end, profile, relative
from fewstep.core.caches.search import segments
from fewstep.core.errors import UsageError


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
    errors = [relative(end(net, run, cache, times), reference) for cache in tried]
    return tried[errors.index(min(errors))]


def _count(budget: int | float, rows: int) -> int:
    if isinstance(budget, float) and not 0 < budget < 1:
        raise UsageError(f"expected a budget in calls (int) or a share in (0, 1), got {budget}")
    return budget if isinstance(budget, int) else max(1, round(budget * rows))
