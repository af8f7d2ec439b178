"""Policies that look at what the net is doing: a gate on a cheap probe, and a criterion of stability.

A gate runs one block, forecasts what it should have said from earlier rows, and predicts the rest of the net while

    err = mean |said − forecast| / mean |forecast|   <=   threshold
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from fewstep.core.caches.policy import Moment, Want
from fewstep.core.caches.predictor import Predictor, Reuse
from fewstep.core.caches.scope import What
from fewstep.core.errors import UsageError


@dataclass(frozen=True)
class Gate:
    """Compute where the probe surprises.

    Parameters
    ----------
    threshold
        Of err; below 0 always computes.
    probe
        A module's name; default the block before the span.
    what
        Whether the probe's output or its residual is looked at.
    forecast
        Of the probe, from the rows that were computed.
    relative_to
        What the error is divided by.
    reduce
        ``"max"``: compute all if one item of the batch needs it; ``"sample"``: compute only the items that need it, so
        that no item depends on its neighbours; ``"mean"``: one decision on the batch's mean, as published.
    max_skip
        Predicted rows in succession.
    warmup
        Rows that are computed at the start.
    """

    threshold: float
    probe: str | None = None
    what: What = "delta"
    forecast: Predictor = field(default_factory=Reuse)
    relative_to: Literal["forecast", "actual"] = "forecast"
    reduce: Literal["max", "sample", "mean"] = "max"
    max_skip: int | None = None
    warmup: int = 1

    def __post_init__(self) -> None:
        if self.reduce not in ("max", "sample", "mean"):
            raise UsageError(f"expected reduce out of max, sample, mean, got {self.reduce!r}")
        if self.warmup < 1 or (self.max_skip is not None and self.max_skip < 1):
            raise UsageError(f"expected warmup >= 1 and max_skip >= 1, got {self.warmup} and {self.max_skip}")

    def want(self, moment: Moment) -> Want:
        """Compute in the warm-up, ask the probe afterwards."""
        return "compute" if moment.row < self.warmup else "ask"

    def surprised(self, said: Tensor, forecast: Tensor) -> Tensor:
        """Which items must be computed.

        Parameters
        ----------
        said, forecast
            [batch, ...].

        Returns
        -------
        Tensor
            Bool, [batch] for ``reduce="sample"``, else [1].
        """
        reference = forecast if self.relative_to == "forecast" else said
        wrong, size = (said - forecast).abs().flatten(1).mean(1), reference.abs().flatten(1).mean(1)
        if self.reduce == "mean":
            wrong, size = wrong.mean(0, keepdim=True), size.mean(0, keepdim=True)
        over = wrong > self.threshold * size
        return over.any().view(1) if self.reduce == "max" else over


@dataclass(frozen=True)
class Stability:
    """Predict while the answers bend little (the flow form of SADA's criterion, Jiang et al. 2025, arXiv:2507.17135).

    With the last three computed answers f, m = (f_1 − f_2) − (f_0 − f_1) is averaged over each item; a row is predicted
    if no item's mean is above 0. Only the sign is looked at, so this skips as often as it errs on nets whose answers
    are not velocities.

    Parameters
    ----------
    warmup
        Rows that are computed at the start, at least 3.
    max_skip
        Predicted rows in succession.
    """

    warmup: int = 3
    max_skip: int = 3

    def __post_init__(self) -> None:
        if self.warmup < 3 or self.max_skip < 1:
            raise UsageError(f"expected warmup >= 3 and max_skip >= 1, got {self}")

    @property
    def depth(self) -> int:
        """Answers that are kept for the criterion."""
        return 3

    def want(self, moment: Moment) -> Want:
        """Predict on a stable stretch."""
        if moment.row < self.warmup or moment.streak >= self.max_skip or len(moment.answers) < 3:
            return "compute"
        f0, f1, f2 = moment.answers[:3]
        means = torch.sub(f1 - f2, f0 - f1).flatten(1).mean(1)
        return "predict" if bool((means <= 0).all()) else "compute"
