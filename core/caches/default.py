"""The recommended cache: profile, search for the rows where a budget of calls pays, and verify at the end point."""

import math
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep.core.caches.attach import attach
from fewstep.core.caches.cache import Cache
from fewstep.core.caches.policy import Every, Schedule
from fewstep.core.caches.predictor import Newton, Reuse
from fewstep.core.caches.profile import Profile, end, profile, relative
from fewstep.core.caches.search import bends, segments
from fewstep.core.errors import UsageError

Unit = Literal["calls", "time", "flops", "ms"]


def tune(
    net: nn.Module,
    run: Callable[[], Tensor],
    *,
    scope: Any,
    budget: int | float,
    unit: Unit = "calls",
    times: Any = None,
    **options: Any,
) -> Cache:
    """The recommended cache: profile, search, and verify.

    Parameters
    ----------
    net, run, times
        As for `profile`.
    scope
        As for `profile`; or several, of which the one is taken that ends nearest within the budget.
    budget, unit
        As for `rows_within`.
    options
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
    if not isinstance(scope, list | tuple):
        count = rows_within(net, run, scope=scope, budget=budget, unit=unit, times=times)
        measured = profile(net, run, scope=scope, times=times)
        return pick(net, run, measured, scope=scope, budget=count, times=times, **options)
    found, refused = [], []
    for each in scope:
        try:
            found.append(tune(net, run, scope=each, budget=budget, unit=unit, times=times, **options))
        except UsageError as error:
            refused.append(str(error))
    if not found:
        raise UsageError("; ".join(refused) or "expected one scope or more, got none")
    reference = run()
    return min(found, key=lambda cache: relative(end(net, run, cache, times), reference))


def rows_within(
    net: nn.Module,
    run: Callable[[], Tensor],
    *,
    scope: Any,
    budget: int | float,
    unit: Unit = "calls",
    times: Any = None,
) -> int:
    """How many rows may be computed within a budget.

    Parameters
    ----------
    net, run, scope, times
        As for `profile`.
    budget
        ``"calls"``: computed rows, a whole number or a share in (0, 1). ``"time"``, ``"flops"``: a share in (0, 1) of
        what an uncached run takes. ``"ms"``: milliseconds of one run, as long as an uncached one takes now or less.
    unit
        Of the budget.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    UsageError
        If the budget is out of range, or less than what is left when all that the scope holds is left out.
    """
    rows, spent, least = _prices(net, run, scope, times, unit)
    if unit == "calls":
        return _count(budget, rows)
    share = budget / spent if unit == "ms" else budget
    if not 0 < share <= 1 or (unit != "ms" and share == 1):
        raise UsageError(f"expected a budget of a share in (0, 1), or in ms up to {spent:.0f}, got {budget} ({unit})")
    count = 1 + math.floor((rows - 1) * (share - least) / (1 - least) + 1e-9) if least < 1 else 0
    if count < 1:
        raise UsageError(
            f"a budget of {budget} ({unit}) cannot be kept: with one row computed out of {rows}, {least:.2f} of the "
            "run is left; cache more of the net, or take fewer steps"
        )
    return min(count, rows)


def _prices(net: nn.Module, run: Callable[[], Tensor], scope: Any, times: Any, unit: Unit) -> tuple[int, float, float]:
    """Rows, what an uncached run takes (ms or FLOPs), and which share of it a run takes that computes one row."""
    with attach(net, Cache(scope, Every(1)), times=times) as attached:
        run()
    rows = attached.report.calls // max(attached.branches, 1)
    once = Cache(scope, Every(rows))
    if unit == "calls":
        return rows, 0.0, 0.0
    if unit == "flops":
        full, one = _flops(run), _flops(partial(end, net, run, once, times))
        return rows, full, one / full
    full, one = _milliseconds(run), _milliseconds(partial(end, net, run, once, times))
    return rows, full, min(one / full, 1.0)


def _flops(run: Callable[[], Tensor]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def _milliseconds(run: Callable[[], Tensor]) -> float:
    spent = []
    for _ in range(3):
        began = perf_counter()
        _wait(run())
        spent.append(perf_counter() - began)
    return 1000 * min(spent)


def _wait(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)


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
    """Of the sensitivity-weighted programmes for reuse and for lines, and evenly spaced rows, what ends nearest.

    The programmes minimise a sum over rows, in which errors of different rows do not know of each other; which
    candidate is best, only a run can tell.

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
        After six runs, or fewer with a predictor.

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
    if measured.line_cost is not None and count > 1 and Newton(1) in predictors:
        tried.append(Cache(scope, bends(measured.line_cost, measured.cost, count), Newton(1), **options))
    reference = run()
    errors = [relative(end(net, run, cache, times), reference) for cache in tried]
    return tried[errors.index(min(errors))]


def _count(budget: int | float, rows: int) -> int:
    if isinstance(budget, float) and not 0 < budget < 1:
        raise UsageError(f"expected a budget in calls (int) or a share in (0, 1), got {budget}")
    return budget if isinstance(budget, int) else max(1, round(budget * rows))
