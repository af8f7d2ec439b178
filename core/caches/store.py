"""Tuned schedules as JSON beside the weights that they were tuned for: ``<name>.cache.json``.

The file names the net by a digest of its weights, and the grid; another net or grid is refused. It holds data only.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewstep.core.caches.cache import Cache
from fewstep.core.caches.correction import AsPredicted
from fewstep.core.caches.policy import Schedule
from fewstep.core.caches.predictor import Newton, Reuse, Taylor
from fewstep.core.caches.scope import Each, Span, Whole, span
from fewstep.core.caches.unets import Branch, Encoder
from fewstep.core.errors import UsageError
from fewstep.core.solvers.tune.store import fingerprint

SUFFIX = ".cache.json"
_FORMAT = "fewstep.cache.2"
_PREDICTORS: dict[str, Any] = {"reuse": Reuse, "newton": Newton, "taylor": Taylor}
_SCOPES: dict[str, Any] = {"each": Each, "span": Span, "whole": Whole, "branch": Branch, "encoder": Encoder}
_KEYS = {"scope", "refresh", "predictor", "order", "stages"}


def save(cache: Cache | Sequence[Cache], file: str | Path, *, net: nn.Module | str, times: Any) -> Path:
    """Write caches with schedules.

    Parameters
    ----------
    cache
        One or several, each with a policy `Schedule`, a predictor and scope of this package, and no correction.
    file
        Ends in ``.cache.json``.
    net
        What they were tuned for, or its fingerprint.
    times
        Of the rows, [rows + 1].

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UsageError
        If the name or a cache is of another kind, or the times are not those of the schedule.
    """
    file, grid = Path(file), _grid(times)
    if not file.name.endswith(SUFFIX):
        raise UsageError(f"expected a file that ends in {SUFFIX}, got {file.name}")
    several = [cache] if isinstance(cache, Cache) else list(cache)
    found = {
        "format": _FORMAT,
        "net": _named(net),
        "times": grid,
        "caches": [_written(each, len(grid) - 1) for each in several],
    }
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(file)
    return file


def load(file: str | Path, *, net: nn.Module | str, times: Any, scope: Any = None) -> tuple[Cache, ...]:
    """Read caches, for the net and the grid that they were tuned for only.

    Parameters
    ----------
    file
        What `save` wrote.
    net
        What is to be sampled, or its fingerprint.
    times
        Of the run's rows, [rows + 1].
    scope
        If given, the scope that a single cache must have.

    Returns
    -------
    tuple of Cache
        For one `attach`.

    Raises
    ------
    UsageError
        If the file is something else, or was tuned for another net, grid or scope.
    FileNotFoundError
        If there is no such file.
    """
    found = _read(Path(file))
    ours, grid = _named(net), _grid(times)
    if found["net"] != ours:
        raise UsageError(f"{file} was tuned for the net {found['net']}, not for {ours}: tune again")
    same = len(grid) == len(found["times"])
    if not same or max(abs(a - b) for a, b in zip(grid, found["times"], strict=True)) > 1e-6 * max(map(abs, grid)):
        raise UsageError(f"{file} was tuned for {len(found['times']) - 1} rows on a grid of its own: tune again")
    caches = tuple(_cache(each, len(grid) - 1, file) for each in found["caches"])
    wanted = span(scope) if isinstance(scope, str) else scope
    if wanted is not None and [cache.scope for cache in caches] != [wanted]:
        said = ", ".join(cache.places.describe() for cache in caches)
        raise UsageError(f"{file} was tuned for {said}, not for {wanted.describe()}")
    return caches


def _written(cache: Cache, rows: int) -> dict[str, Any]:
    policy = cache.policy
    kind = next((name for name, known in _PREDICTORS.items() if type(cache.predictor) is known), None)
    if not isinstance(policy, Schedule) or kind is None or cache.correction != AsPredicted():
        raise UsageError("only caches with a Schedule, a predictor of fewstep and no correction are stored")
    if rows != policy.rows:
        raise UsageError(f"expected {policy.rows + 1} times for {policy.rows} rows, got {rows + 1}")
    place = next((name for name, known in _SCOPES.items() if type(cache.scope) is known), None)
    if place is None or getattr(cache.scope, "split", None) is not None:
        raise UsageError(f"{cache.places.describe()} is code, which is not stored: use a scope that names modules")
    scope = {"kind": place, **asdict(cache.scope)}
    scope.pop("split", None)
    return {
        "scope": scope,
        "refresh": list(policy.refresh),
        "predictor": kind,
        "order": cache.predictor.depth - 1,
        "stages": cache.stages,
    }


def _cache(found: dict[str, Any], rows: int, file: str | Path) -> Cache:
    options, order = dict(found["scope"]), {} if found["predictor"] == "reuse" else {"order": found["order"]}
    kind = _SCOPES.get(options.pop("kind", None))
    if "carries" in options:
        options["carries"] = tuple(options["carries"])
    try:
        scope = kind(**options)  # type: ignore[misc]  # None is no scope, and says so
    except TypeError:
        raise UsageError(f"{file}: the cache is not whole: its scope is {found['scope']}") from None
    schedule = Schedule(rows, tuple(found["refresh"]))
    return Cache(scope, schedule, _PREDICTORS[found["predictor"]](**order), stages=found["stages"])


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: expected the JSON of a cache, got something else ({error})") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise UsageError(f"{file}: expected the JSON of a cache, format {_FORMAT}: tune again")
    missing = {"net", "times", "caches"} - set(found)
    missing |= {key for each in found.get("caches", []) for key in _KEYS - set(each)}
    unknown = [each["predictor"] for each in found.get("caches", []) if each.get("predictor") not in _PREDICTORS]
    if missing or unknown:
        raise UsageError(f"{file}: the cache is not whole: {sorted(missing) or unknown[0]}")
    return found


def _grid(times: Any) -> list[float]:
    return [float(t) for t in torch.as_tensor(times, dtype=torch.float64)]


def _named(net: nn.Module | str) -> str:
    return net if isinstance(net, str) else fingerprint(net)
