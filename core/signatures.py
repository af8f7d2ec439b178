"""Does a plain value from a config fit the annotation of a parameter?

Judges what can be judged (numbers, text, lists, choices, nested targets) and lets the rest pass.
"""

import collections.abc
import inspect
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewstep.core.build import PARTIAL, TARGET, locate
from fewstep.core.errors import UsageError

_SEQUENCES = (list, tuple, set, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_PLAIN: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    complex: (int, float),
    str: (str,),
    type(None): (type(None),),
    Path: (str,),
}


def hints(target: Any) -> dict[str, Any]:
    """Annotations of a class's or function's parameters, resolved; without those that cannot be resolved.

    Parameters
    ----------
    target
        A class or a function.

    Returns
    -------
    dict
        Parameter name -> annotation.
    """
    source = target.__init__ if inspect.isclass(target) else target
    try:
        found = typing.get_type_hints(source)
    except Exception:  # an annotation may name anything, also what is imported for type checkers only
        return {}
    found.pop("return", None)
    return found


def fits(value: Any, annotation: Any) -> bool:
    """Whether a plain config value can be passed where `annotation` stands.

    Parameters
    ----------
    value
        Number, text, None, list, or mapping (buildable when it has ``_target_``).
    annotation
        A resolved type annotation.

    Returns
    -------
    bool
        False only if it certainly does not fit.
    """
    if annotation is Any:
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if origin is typing.Literal:
        return value in arguments
    if annotation is None or annotation in _PLAIN:
        kinds = _PLAIN[type(None) if annotation is None else annotation]
        return isinstance(value, kinds) and not (isinstance(value, bool) and annotation is not bool)
    if isinstance(value, Mapping) and TARGET in value:
        return _built_fits(value, origin or annotation)
    return _container_fits(value, origin or annotation, arguments)


def shown(thing: Any) -> str:
    """A value or an annotation in a few words.

    Parameters
    ----------
    thing
        A config value or a type.

    Returns
    -------
    str
        For an error message.
    """
    if isinstance(thing, Mapping):
        return str(thing.get(TARGET, f"a mapping of {sorted(map(str, thing))}"))
    if inspect.isclass(thing):
        return thing.__name__
    if thing is None or isinstance(thing, bool | int | float | str | list):
        return f"{thing!r}" if thing is None else f"{thing!r} ({type(thing).__name__})"
    return str(thing).replace("typing.", "")


def _container_fits(value: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    if kind in _SEQUENCES:
        if not isinstance(value, list | tuple):
            return False
        if kind is tuple and arguments and arguments[-1] is not Ellipsis:
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        return not arguments or all(fits(item, arguments[0]) for item in value)
    if kind in _MAPPINGS:
        return isinstance(value, Mapping)
    if kind is collections.abc.Callable:
        return False
    return not _is_ordinary_class(kind)


def _built_fits(config: Mapping[str, Any], kind: Any) -> bool:
    if config.get(PARTIAL, False):
        return kind is collections.abc.Callable or not _is_ordinary_class(kind)
    if kind in (list, tuple, set):
        return False
    try:
        target = locate(config[TARGET])
    except UsageError:
        return True  # reported where it stands
    gives = target if inspect.isclass(target) else hints_of_result(target)
    return not (_is_ordinary_class(kind) and inspect.isclass(gives)) or issubclass(gives, kind)


def hints_of_result(function: Any) -> Any:
    """The annotation of a function's result, or None.

    Parameters
    ----------
    function
        The function.

    Returns
    -------
    type or None
        None also where it cannot be resolved.
    """
    try:
        return typing.get_type_hints(function).get("return")
    except Exception:  # as in `hints`
        return None


def _is_ordinary_class(kind: Any) -> bool:
    return inspect.isclass(kind) and kind is not object and not getattr(kind, "_is_protocol", False)
