"""What a cache can leave out: outputs or residuals of modules, spans of blocks, the whole net, a U-Net's depth."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from fewstep.core.errors import UsageError

What = Literal["output", "delta"]


@dataclass(frozen=True)
class Split:
    """A U-Net in two: ``full`` is the net, ``shallow`` what is left once the feature from below is known.

    Parameters
    ----------
    full
        ``full(*args) -> (output, deep)``, with the arguments of the net.
    shallow
        ``shallow(deep, *args) -> output``; equal to `full` where `deep` comes from the same arguments.
    """

    full: Callable[..., tuple[Tensor, Tensor]]
    shallow: Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Site:
    """One feature: what the modules, called in order, do to the first argument.

    Parameters
    ----------
    name
        For reports and schedules.
    modules
        Each must take a tensor first; those of a span must hand it on to the next.
    what
        Keep the last output, or its difference from the first input.
    before
        The module that runs before the first, for gates.
    split
        Only for a U-Net, whose single module is the net.
    carries
        Names of the arguments that the parts of a module's answer go on from, in the answer's order; (): the first
        argument.
    idle
        ``idle(module, x)``: what a module that is left out returns where the last one will say the feature; default x.
    """

    name: str
    modules: tuple[nn.Module, ...]
    what: What
    before: nn.Module | None = None
    split: Split | None = None
    carries: tuple[str, ...] = ()
    idle: Callable[[nn.Module, Tensor], Any] | None = None


class Scope(Protocol):
    """Finds its sites in a net."""

    def resolve(self, net: nn.Module) -> list[Site]:
        """The sites, at least one."""

    def describe(self) -> str:
        """The same text for the same scope, for the file of a schedule."""


@dataclass(frozen=True)
class Each:
    """Every module of a pattern for itself; see `outputs` and `deltas`."""

    pattern: str
    what: What
    carries: tuple[str, ...] = ()

    def resolve(self, net: nn.Module) -> list[Site]:
        """One site per module."""
        return [Site(name, (module,), self.what, carries=self.carries) for name, module in named(net, self.pattern)]

    def describe(self) -> str:
        """Pattern and feature."""
        return f"{self.what} of {self.pattern}"


@dataclass(frozen=True)
class Span:
    """Consecutive blocks as one site; see `span`."""

    pattern: str
    first: int
    until: int | None
    what: What
    carries: tuple[str, ...] = ()

    def resolve(self, net: nn.Module) -> list[Site]:
        """One site."""
        found = named(net, self.pattern)
        start, stop, _ = slice(self.first, self.until).indices(len(found))
        inside = found[start:stop]
        if not inside:
            end = "the end" if self.until is None else self.until
            raise UsageError(f"no blocks from {self.first} to {end}: {self.pattern!r} names {len(found)} modules")
        before = found[start - 1][1] if start else None
        name = f"{inside[0][0]}..{inside[-1][0]}"
        return [Site(name, tuple(module for _, module in inside), self.what, before, carries=self.carries)]

    def describe(self) -> str:
        """Pattern, range and feature."""
        return f"{self.what} of {self.pattern}[{self.first}:{'' if self.until is None else self.until}]"


@dataclass(frozen=True)
class Whole:
    """The net itself; see `whole` and `unet_branch`."""

    what: What
    split: Split | None = None

    def resolve(self, net: nn.Module) -> list[Site]:
        """One site: the net."""
        return [Site("net", (net,), self.what, None, self.split)]

    def describe(self) -> str:
        """The feature."""
        return f"{self.what} of the net" if self.split is None else "the U-Net's branch"


def outputs(pattern: str) -> Each:
    """What each named module returns.

    Parameters
    ----------
    pattern
        The name of a list of modules, which stands for its items, or a regular expression for whole module names.

    Returns
    -------
    Each
        A scope; resolving it raises `UsageError` if nothing matches.
    """
    return Each(pattern, "output")


def deltas(pattern: str, *, carries: Sequence[str] = ()) -> Each:
    """What each named module adds to its first argument; a predicted step keeps what is new in it.

    Parameters
    ----------
    pattern
        As for `outputs`; the modules must return what they take, in shape.
    carries
        For modules that hand on several tensors: the arguments' names, in the order of the answer, such as
        ``("encoder_hidden_states", "hidden_states")`` for the blocks of diffusers' Flux.

    Returns
    -------
    Each
        A scope.
    """
    return Each(pattern, "delta", tuple(carries))


def span(
    pattern: str, first: int = 0, until: int | None = None, *, what: What = "delta", carries: Sequence[str] = ()
) -> Span:
    """What the blocks [first, until) together add to the state: one small feature for most of the work.

    Parameters
    ----------
    pattern
        As for `outputs`, in the order in which the blocks run; each hands its output to the next as first argument.
    first, until
        Which of them, counted as in a slice; default all.
    what
        ``"delta"``, or ``"output"`` to forecast the last block's output itself.
    carries
        See `deltas`.

    Returns
    -------
    Span
        A scope.
    """
    return Span(pattern, first, until, what, tuple(carries))


def whole(*, what: What = "output") -> Whole:
    """The answer of the net, or its difference from the state; a skipped row is then no network call."""
    return Whole(what)


def unet_branch(split: Split) -> Whole:
    """The feature that comes from below one level of a U-Net (DeepCache, Ma et al. 2024, arXiv:2312.00858).

    Parameters
    ----------
    split
        The net in two; at the first computed row of every attachment ``shallow`` is compared with ``full``.

    Returns
    -------
    Whole
        A scope.
    """
    return Whole("output", split)


def named(net: nn.Module, pattern: str) -> list[tuple[str, nn.Module]]:
    """Modules of a pattern in the order of the net.

    Parameters
    ----------
    net
        Any.
    pattern
        The name of a `ModuleList` or `Sequential`, or a regular expression for whole names.

    Returns
    -------
    list of (str, torch.nn.Module)

    Raises
    ------
    UsageError
        If there is none.
    """
    modules: dict[str, Any] = dict(net.named_modules())
    holder = modules.get(pattern)
    if isinstance(holder, nn.ModuleList | nn.Sequential) and len(holder):
        return [(f"{pattern}.{name}", module) for name, module in holder.named_children()]
    try:
        match = re.compile(pattern).fullmatch
    except re.error as error:
        raise UsageError(f"{pattern!r} is neither a module's name nor a regular expression: {error}") from None
    found = [(name, module) for name, module in modules.items() if name and match(name)]
    if not found:
        some = ", ".join(list(modules)[1:8])
        raise UsageError(f"the scope {pattern!r} matches no module of {type(net).__name__}, which has {some}, ...")
    return found
