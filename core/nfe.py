"""Counting network calls as they happen.

A denoiser counts as one call unless something inside it reports otherwise: guidance reports two, a cache that skips the
net reports none. Counters are local to the running context, so threads do not share them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor

from fewstep.core.types import Denoise


@dataclass
class Counter:
    """Calls so far, and how often anything was reported."""

    calls: int = 0
    reports: int = 0


_current: ContextVar[Counter | None] = ContextVar("nfe", default=None)


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
    before = 0 if counter is None else counter.reports
    denoised = denoise(x, t)
    if counter is not None and counter.reports == before:
        report(1)
    return denoised
