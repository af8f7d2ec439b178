"""Objects from plain configs: `{_target_: dotted.name, ...}` -> the object, through an allow-list.

A config may come from a stranger's folder or from a hub, so it can name only what the allow-list holds. A name is
refused too when the object it reaches was defined outside the list (`fewstep.core.hub.os.system`).
"""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from fewstep.core.errors import UsageError

TARGETS = (
    "fewstep.",
    "torch.optim.",
    "torch.nn.",
    "lightning.pytorch.callbacks.",
    "lightning.pytorch.loggers.",
    "lightning.pytorch.strategies.",
    "lightning.pytorch.Trainer",
)
"""What a `_target_` may start with."""

HOMES = ("fewstep.", "torch.optim.", "torch.nn.", "lightning.pytorch.")
"""What the defining module of the located object may start with."""

CLOSED = ("bench", "build", "checkpoint", "cli", "commands", "config", "convert", "hub", "run")
"""Modules of ours that read, write or run things, by their last name: never a target."""

TARGET, PARTIAL = "_target_", "_partial_"


def locate(target: str) -> Callable[..., Any]:
    """The class or function that a dotted name stands for.

    Parameters
    ----------
    target
        Full dotted name, for example ``"torch.nn.Linear"``; it must start with one of `TARGETS`.

    Returns
    -------
    callable
        The located class or function.

    Raises
    ------
    UsageError
        If the name is not on the allow-list, does not exist, is not callable or is defined outside the allow-list.
    """
    if not isinstance(target, str) or not _within(target, TARGETS):
        raise UsageError(f"target {target!r} is not allowed: a target starts with one of {', '.join(TARGETS)}")
    if any(part.startswith("_") for part in target.split(".")):
        raise UsageError(f"target {target!r} is not allowed: a part of it starts with an underscore")
    found = _walk(target)
    home = getattr(found, "__module__", None)
    if not callable(found) or isinstance(found, ModuleType):
        raise UsageError(f"target {target!r} is a {type(found).__name__}: expected a class or a function")
    if not isinstance(home, str) or not _within(home + ".", HOMES):
        raise UsageError(f"target {target!r} is not allowed: it is defined in {home}, outside {', '.join(HOMES)}")
    if home.startswith("fewstep.") and home.rpartition(".")[2] in CLOSED:
        raise UsageError(f"target {target!r} is not allowed: nothing in {home} is a part to build")
    return found


def build(config: Mapping[str, Any], **more: Any) -> Any:
    """Build the object that a config describes, the nested ones first.

    Parameters
    ----------
    config
        Mapping with ``_target_``, the keyword arguments of that target and optionally ``_partial_: true``, which
        gives a `functools.partial` instead of the result.
    more
        Further keyword arguments of the outermost target, passed as they are.

    Returns
    -------
    object
        What the target returns.

    Raises
    ------
    UsageError
        If there is no ``_target_``, it is not allowed (see `locate`), or the keys do not fit its signature.
    """
    if not isinstance(config, Mapping) or TARGET not in config:
        raise UsageError(f"expected a mapping with the key {TARGET}, got {config!r}")
    target = locate(config[TARGET])
    arguments = {key: _nested(value) for key, value in config.items() if key not in (TARGET, PARTIAL)} | more
    partial = bool(config.get(PARTIAL, False))
    _require_fit(config[TARGET], target, arguments, partial)
    return functools.partial(target, **arguments) if partial else target(**arguments)


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return build(value) if TARGET in value else {key: _nested(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nested(item) for item in value]
    return value


def _require_fit(name: str, target: Callable[..., Any], arguments: Mapping[str, Any], partial: bool) -> None:
    try:
        signature = inspect.signature(target)
    except ValueError:
        return
    try:
        (signature.bind_partial if partial else signature.bind)(**arguments)
    except TypeError as error:
        raise UsageError(f"{name}: {error}; its arguments are {signature}") from None


def _within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or (prefix.endswith(".") and name.startswith(prefix)) for prefix in prefixes)


def _walk(target: str) -> Any:
    """Import the longest importable module of the name, then follow attributes."""
    parts = target.split(".")
    for split in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:split])
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue
            raise UsageError(f"target {target!r} needs the package {error.name!r}: install it first") from None
        return _follow(found, parts[split:], target)
    raise UsageError(f"target {target!r} does not exist: no module {parts[0]!r}")


def _follow(found: Any, names: list[str], target: str) -> Any:
    for name in names:
        if not hasattr(found, name):
            where = getattr(found, "__name__", type(found).__name__)
            raise UsageError(
                f"target {target!r} does not exist: {where} has no {name!r}{did_you_mean(name, dir(found))}"
            )
        found = getattr(found, name)
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The closest of the known names as a question, or the empty string.

    Parameters
    ----------
    name
        What was written.
    known
        What could have been written.

    Returns
    -------
    str
        ``", did you mean 'x'?"`` or ``""``.
    """
    close = difflib.get_close_matches(name, [item for item in known if not item.startswith("_")], n=1)
    return f", did you mean {close[0]!r}?" if close else ""
