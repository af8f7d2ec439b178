"""What a cache remembers in one run: a history per site, kept apart by guidance branch and stage.

It lives in the notes of the run's counter (`fewstep.core.nfe`), so that no state outlives a call of `sample`, and two
threads that sample with one net share none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fewstep.core.caches.cache import Cache
from fewstep.core.caches.policy import Want
from fewstep.core.caches.predictor import Predictor
from fewstep.core.caches.report import Tally
from fewstep.core.errors import UsageError

Parts = tuple[Tensor, ...]
"""A feature: one tensor, or the several that a module hands on."""

Form = Callable[[Parts], Any] | None
"""Puts parts back into what a module returned them in; None for a tensor alone."""


@dataclass
class History:
    """Values of one feature, the newest first, and where they were computed."""

    shape: torch.Size
    values: list[Parts] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    form: Form = None

    def push(self, value: Parts, at: float, depth: int) -> int:
        """Keep a value that nobody else holds; returns by how many bytes the history grew."""
        before = self.bytes
        if self.at and self.at[0] == at:
            self.values[0] = value
        else:
            self.values, self.at = [value, *self.values[: depth - 1]], [at, *self.at[: depth - 1]]
        return self.bytes - before

    def predict(self, predictor: Predictor, to: float) -> Parts:
        """The weighted sum at `to`, new tensors."""
        weights = predictor.weights(self.at, to)
        parts = tuple(part * weights[0] if weights[0] != 1.0 else part.clone() for part in self.values[0])
        for other, weight in zip(self.values[1:], weights[1:], strict=True):
            if weight:
                for part, more in zip(parts, other, strict=True):
                    part.add_(more, alpha=weight)
        return parts

    @property
    def bytes(self) -> int:
        """Of all values."""
        return sum(part.numel() * part.element_size() for value in self.values for part in value)


@dataclass
class Track:
    """One cache in one guidance branch and stage."""

    signature: tuple[torch.Size, torch.dtype, torch.device]
    histories: dict[tuple[int, int], History] = field(default_factory=dict)
    probe: History | None = None
    streak: Any = 0

    @property
    def bytes(self) -> int:
        """Of all its histories."""
        probe = 0 if self.probe is None else self.probe.bytes
        return probe + sum(history.bytes for history in self.histories.values())


@dataclass
class Passing:
    """One way through a site: the input of its first module, and which items are computed (None: all)."""

    key: tuple[int, int]
    predict: bool
    entry: Parts
    items: Tensor | None = None
    began: float = 0.0


@dataclass
class Live:
    """One cache during one call of the net."""

    cache: Cache
    track: Track
    want: Want
    row: int
    at: float
    tally: Tally
    listen: Callable[[tuple[int, int], Parts], None] | None = None
    items: Tensor | None = None
    copies: int = 1
    """How often what is stored stands one after the other in this call's batch, see `fewstep.core.caches.ahead`."""
    visits: dict[int, int] = field(default_factory=dict)
    passing: dict[int, Passing] = field(default_factory=dict)
    skipped: bool = False

    def keep(self, change: int) -> None:
        """Count bytes.

        Raises
        ------
        UsageError
            If there are more than allowed.
        """
        self.tally.keep(change)
        most = self.cache.max_bytes
        if most is not None and self.tally.kept > most:
            raise UsageError(
                f"the cache keeps {self.tally.kept} bytes at row {self.row}, more than max_bytes={most}: "
                "cache spans instead of single modules, lower the order, or raise max_bytes"
            )


@dataclass
class Memory:
    """Everything of one run."""

    tally: Tally
    row: int = -1
    branch: int = 0
    copies: int = 1
    tracks: dict[tuple[int, int, int], Track] = field(default_factory=dict)
    live: list[Live] | None = None

    def forget(self) -> None:
        """Drop every history, as at the start of a run."""
        self.tracks.clear()
        self.tally.kept = 0
