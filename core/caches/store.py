"""A tuned schedule as JSON beside the weights that it was tuned for: ``<name>.cache.json``.

It names the net by a digest of its weights, the scope, and the grid; another net or grid is refused.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewstep.core.caches.cache import Cache
from fewstep.core.caches.correction import AsPredicted
from fewstep.core.caches.policy import Schedule
from fewstep.core.caches.predictor import Newton, Reuse, Taylor
from fewstep.core.errors import UsageError
from fewstep.core.solvers.tune.store import fingerprint

SUFFIX = ".cache.json"
_FORMAT = "fewstep.cache.1"
_PREDICTORS: dict[str, Any] = {"reuse": Reuse, "newton": Newton, "taylor": Taylor}


def save(cache: Cache, file: str | Path, *, net: nn.Module | str, times: Any) -> Path:
    """Write a cache with a schedule.

    Parameters
    ----------
    cache
        Policy `Schedule`, predictor of this package, no correction.
    file
        Ends in ``.cache.json``.
    net
        What it was tuned for, or its fingerprint.
    times
        Of the rows, [rows + 1].

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UsageError
        If the name or the cache is of another kind, or the times are not those of the schedule.
    """
    file, policy = Path(file), cache.policy
    if not file.name.endswith(SUFFIX):
        raise UsageError(f"expected a file that ends in {SUFFIX}, got {file.name}")
    kind = next((name for name, known in _PREDICTORS.items() if type(cache.predictor) is known), None)
    if not isinstance(policy, Schedule) or kind is None or cache.correction != AsPredicted():
        raise UsageError("only caches with a Schedule, a predictor of fewstep and no correction are stored")
    grid = _grid(times)
    if len(grid) != policy.rows + 1:
        raise UsageError(f"expected {policy.rows + 1} times for {policy.rows} rows, got {len(grid)}")
    found = {
        "format": _FORMAT,
        "net": _named(net),
        "scope": cache.places.describe(),
        "times": grid,
        "refresh": list(policy.refresh),
        "predictor": kind,
        "order": cache.predictor.depth - 1,
        "stages": cache.stages,
    }
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return file


def load(file: str | Path, *, net: nn.Module | str, times: Any, scope: Any) -> Cache:
    """Read a cache, for the net, the grid and the scope that it was tuned for only.

    Parameters
    ----------
    file
        What `save` wrote.
    net
        What is to be sampled, or its fingerprint.
    times
        Of the run's rows, [rows + 1].
    scope
        The scope, which a file only names.

    Returns
    -------
    Cache

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
    order = {} if found["predictor"] == "reuse" else {"order": found["order"]}
    schedule = Schedule(len(grid) - 1, tuple(found["refresh"]))
    cache = Cache(scope, schedule, _PREDICTORS[found["predictor"]](**order), stages=found["stages"])
    if cache.places.describe() != found["scope"]:
        raise UsageError(f"{file} was tuned for {found['scope']}, not for {cache.places.describe()}")
    return cache


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: expected the JSON of a cache, got something else ({error})") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise UsageError(f"{file}: expected the JSON of a cache, format {_FORMAT}")
    missing = {"net", "scope", "times", "refresh", "predictor", "order", "stages"} - set(found)
    if missing or found["predictor"] not in _PREDICTORS:
        raise UsageError(f"{file}: the cache is not whole: {sorted(missing) or found['predictor']}")
    return found


def _grid(times: Any) -> list[float]:
    return [float(t) for t in torch.as_tensor(times, dtype=torch.float64)]


def _named(net: nn.Module | str) -> str:
    return net if isinstance(net, str) else fingerprint(net)
