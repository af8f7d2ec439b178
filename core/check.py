"""What is wrong with a config, all of it at once, found by comparing it with the signatures of what it names."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fewstep.core.build import PARTIAL, TARGET, did_you_mean, locate
from fewstep.core.errors import UsageError
from fewstep.core.signatures import fits, hints, shown


@dataclass(frozen=True)
class Problem:
    """One mistake in a config: the dotted key where it is, and what is wrong there."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class ConfigError(UsageError):
    """Every mistake of a config at once, in `problems`."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = list(problems)
        count = f"{len(self.problems)} mistake" + ("s" if len(self.problems) > 1 else "")
        super().__init__("\n  ".join([f"{count} in the config:", *map(str, self.problems)]))


UNKNOWN = type("Unknown", (), {"__repr__": lambda self: "???"})()
"""Stands for a value that is already reported."""


def targets(value: Any, key: str) -> list[Problem]:
    """Mistakes of a config value and of all that is nested in it.

    Parameters
    ----------
    value
        Plain config value; mappings with ``_target_`` are compared with what they name.
    key
        Dotted key of the value.

    Returns
    -------
    list of Problem
        Empty if all of it can be built.
    """
    if isinstance(value, list):
        return [problem for i, item in enumerate(value) for problem in targets(item, f"{key}.{i}")]
    if not isinstance(value, Mapping):
        return []
    problems = [problem for name, item in value.items() if name != TARGET for problem in targets(item, f"{key}.{name}")]
    if TARGET not in value:
        return problems
    try:
        target = locate(value[TARGET])
    except UsageError as error:
        return [*problems, Problem(f"{key}.{TARGET}", str(error))]
    arguments = {name: item for name, item in value.items() if name not in (TARGET, PARTIAL)}
    return problems + against(arguments, target, key, partial=bool(value.get(PARTIAL, False)))


def against(arguments: Mapping[str, Any], target: Any, key: str, *, partial: bool) -> list[Problem]:
    """Unknown, missing and mistyped arguments of one class or function.

    Parameters
    ----------
    arguments
        Plain keyword arguments.
    target
        What they are for.
    key
        Dotted key of the mapping that holds them.
    partial
        Whether arguments may be missing.

    Returns
    -------
    list of Problem
        One for each argument that does not fit.
    """
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:
        return []
    named = {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    types, problems = hints(target), []
    for name, value in arguments.items():
        where = f"{key}.{name}" if key else str(name)
        if name not in named and not open_ended:
            hint = did_you_mean(str(name), named) or f", expected one of {', '.join(named)}"
            problems.append(Problem(where, f"unknown key for {target.__name__}{hint}"))
        elif name in types and value is not UNKNOWN and not fits(value, types[name]):
            problems.append(Problem(where, f"expected {shown(types[name])}, got {shown(value)}"))
    if not partial:
        absent = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
        problems += [
            Problem(f"{key}.{name}" if key else name, f"missing: {target.__name__} needs it") for name in absent
        ]
    return problems
