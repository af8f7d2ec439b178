"""Counting network calls as they happen.

A denoiser counts as one call unless something inside it reports otherwise: guidance reports two, a cache that skips the
net reports none. Counters are local to the running context, so threads do not share them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fewstep.core.types import Denoise


@dataclass
class Counter:
    """Calls so far, and how often anything was reported.

    `rows` are the calls that began outside any other, so `rows` - 1 is the row of a run while `asking`; `notes` live as
    long as the run, for whoever needs memory of that life (a cache).
    """

    calls: int = 0
    reports: int = 0
    rows: int = 0
    asking: bool = False
    notes: dict[Any, Any] = field(default_factory=dict)


_current: ContextVar[Counter | None] = ContextVar("nfe", default=None)


def current() -> Counter | None:
    """The innermost counter of this context, None outside every `count`."""
    return _current.get()


@contextmanager
def count() -> Iterator[Counter]:
    """Count the calls made inside the block; an outer block counts them too.

    Yields
    ------
    Counter
        Its `calls` grow as the block runs.
    """
    counter, outer = Counter(), _current.get()
    token = _current.set(counter)
    try:
        yield counter
    finally:
        _current.reset(token)
        counter.notes.clear()
        if outer is not None:
            outer.calls += counter.calls
            outer.reports += 1


def report(calls: int) -> None:
    """Say that `calls` network calls were made just now."""
    counter = _current.get()
    if counter is not None:
        counter.calls += calls
        counter.reports += 1


def call(denoise: Denoise, x: Tensor, t: Tensor) -> Tensor:
    """``denoise(x, t)``, counted once if nothing inside it reports its calls."""
    counter = _current.get()
    if counter is None:
        return denoise(x, t)
    before, inner = counter.reports, counter.asking
    if not inner:
        counter.asking = True
        counter.rows += 1
    try:
        denoised = denoise(x, t)
    finally:
        counter.asking = inner
    if counter.reports == before:
        report(1)
    return denoised
