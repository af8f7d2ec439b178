"""When a cache computes, when it predicts and when it keeps out of the way: policies that know the row beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

from torch import Tensor

from fewstep.core.errors import UsageError

Want = Literal["compute", "predict", "ask", "off"]
"""``ask`` leaves the choice to the probe of a gate; ``off`` neither stores nor predicts."""


@dataclass(frozen=True)
class Moment:
    """What a policy sees as a call of the net begins.

    Parameters
    ----------
    row, rows
        Evaluation of the run, counted from 0, and how many there will be (None: not told).
    streak
        Calls since the last that computed.
    answers
        Stored values of the first site, the newest first.
    """

    row: int
    rows: int | None
    streak: int
    answers: Sequence[Tensor] = ()


class Policy(Protocol):
    """Decides at each call of the net."""

    def want(self, moment: Moment) -> Want:
        """What to do now; without a stored value a cache computes instead of predicting."""


@dataclass(frozen=True)
class Every:
    """Compute each `interval`-th row.

    Parameters
    ----------
    interval
        1 is always.
    warmup, tail
        Rows that are computed at the start and at the end; a `tail` needs the times of the run.
    """

    interval: int
    warmup: int = 0
    tail: int = 0

    def __post_init__(self) -> None:
        if self.interval < 1 or self.warmup < 0 or self.tail < 0:
            raise UsageError(f"expected interval >= 1, warmup >= 0 and tail >= 0, got {self}")

    def want(self, moment: Moment) -> Want:
        """Compute in the warm-up, in the tail and at multiples of the interval."""
        if self.tail and moment.rows is None:
            raise UsageError("a cache with a tail must know how many rows there are: pass times= to caches.attach")
        last = moment.rows is not None and moment.row >= moment.rows - self.tail
        due = (moment.row - self.warmup) % self.interval == 0
        return "compute" if moment.row < self.warmup or last or due else "predict"


@dataclass(frozen=True)
class Schedule:
    """Compute at listed rows of a run of known length.

    Parameters
    ----------
    rows
        Evaluations of the run.
    refresh
        Increasing rows that are computed, the first of them 0.
    """

    rows: int
    refresh: tuple[int, ...]

    def __post_init__(self) -> None:
        refresh = tuple(int(row) for row in self.refresh)
        rising = all(a < b for a, b in pairwise(refresh))
        if not refresh or refresh[0] != 0 or not rising or refresh[-1] >= self.rows:
            raise UsageError(f"expected increasing rows from 0 below {self.rows}, got {list(refresh)}")
        object.__setattr__(self, "refresh", refresh)

    def want(self, moment: Moment) -> Want:
        """Compute at the listed rows.

        Raises
        ------
        UsageError
            If the run is of another length.
        """
        if moment.row >= self.rows or moment.rows not in (None, self.rows):
            got = f"{moment.rows}" if moment.rows is not None else f"at least {moment.row + 1}"
            raise UsageError(f"this schedule is for {self.rows} rows, the run has {got}: tune it for this grid")
        return "compute" if moment.row in self.refresh else "predict"


@dataclass(frozen=True)
class Window:
    """A policy during the rows [first, until), and off before and after: stages are caches with adjacent windows.

    Parameters
    ----------
    policy
        Sees rows counted from `first`.
    first, until
        Rows of the run; None is its end.
    """

    policy: Policy
    first: int = 0
    until: int | None = None

    def __post_init__(self) -> None:
        if self.first < 0 or (self.until is not None and self.until <= self.first):
            raise UsageError(f"expected rows 0 <= first < until, got {self.first} and {self.until}")

    def want(self, moment: Moment) -> Want:
        """What the policy wants, inside the window."""
        ends = [end for end in (self.until, moment.rows) if end is not None]
        if moment.row < self.first or (ends and moment.row >= min(ends)):
            return "off"
        rows = min(ends) - self.first if ends else None
        return self.policy.want(Moment(moment.row - self.first, rows, moment.streak, moment.answers))
