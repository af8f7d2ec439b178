"""What a cache did in one run of `sample`: visits, skips, bytes, and the time that it should have saved and has."""

from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Report:
    """Numbers of one run.

    Parameters
    ----------
    calls
        Calls of the net, one per row and guidance branch.
    visits, skips
        How often a site was reached, and how often it was predicted instead of computed; a fraction where only some
        items of a batch were.
    bytes
        Most that was kept at once.
    predicted, measured
        Share of the net's time that leaving the sites out should save (their share of a computed call times their
        skips), and that was saved against computed calls of the same run; None on devices other than the CPU, and if
        nothing was computed.
    share
        Share of a computed call that the sites take; None as before.
    """

    calls: int
    visits: int
    skips: float
    bytes: int
    predicted: float | None
    measured: float | None
    share: float | None = None

    def __str__(self) -> str:
        share = self.skips / self.visits if self.visits else 0.0
        text = f"{self.calls} calls, {self.skips:g} of {self.visits} visits skipped ({share:.0%}), {self.bytes} bytes"
        if self.predicted is None or self.measured is None:
            return text
        return f"{text}, time saved {self.measured:.0%} ({self.predicted:.0%} predicted)"


@dataclass
class Tally:
    """What a `Report` is made of, while a run goes on."""

    timed: bool
    visits: int = 0
    skips: float = 0.0
    kept: int = 0
    most: int = 0
    in_sites: float = 0.0
    full: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    partial: list[float] = field(default_factory=list)

    def keep(self, change: int) -> None:
        """Note that so many more bytes are kept."""
        self.kept += change
        self.most = max(self.most, self.kept)

    def ended(self, seconds: float, *, skipped: bool) -> None:
        """Note how long a call of the net took, and which share of it its sites."""
        if skipped:
            self.partial.append(seconds)
        else:
            self.full.append(seconds)
            self.shares.append(min(self.in_sites / max(seconds, 1e-9), 1.0))
        self.in_sites = 0.0

    def report(self) -> Report:
        """The numbers so far."""
        calls, predicted, measured, share = len(self.full) + len(self.partial), None, None, None
        if self.timed and self.full and self.visits:
            share = median(self.shares)
            predicted = share * self.skips / self.visits
            once = median(self.full)
            measured = (len(self.partial) * once - sum(self.partial)) / (calls * once)
        return Report(calls, self.visits, self.skips, self.most, predicted, measured, share)
