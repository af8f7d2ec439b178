"""What stands in for a feature that was not computed: a weighted sum of the stored ones, F = sum_j w_j F_j.

`Newton` is the interpolation polynomial in divided differences, exact for polynomials of degree <= order on any grid.
`Taylor` is TaylorSeer's recursion (Liu et al. 2025, arXiv:2503.06923): d_{k+1} = (d_k − d_k^old) / (s − s_old),
F = sum_k d_k h^k / k!, exact for degree <= 1 only, and on equal gaps at that: it anchors every difference at the newest
point and divides each by the last gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import Protocol

from fewstep.core.errors import UsageError


class Predictor(Protocol):
    """Weights of the stored values."""

    @property
    def depth(self) -> int:
        """How many values are kept."""

    def weights(self, at: Sequence[float], to: float) -> list[float]:
        """One weight per stored value.

        Parameters
        ----------
        at
            Coordinates of the values, the newest first, all different.
        to
            Where to predict.
        """


@dataclass(frozen=True)
class Reuse:
    """The newest value as it is."""

    @property
    def depth(self) -> int:
        """Values that are kept."""
        return 1

    def weights(self, at: Sequence[float], to: float) -> list[float]:
        """1 for the newest, whatever the coordinates `at` and `to`."""
        return [1.0] + [0.0] * (len(at) - 1)


@dataclass(frozen=True)
class _Order:
    order: int = 1

    def __post_init__(self) -> None:
        if self.order < 0:
            raise UsageError(f"expected order >= 0, got {self.order}")

    @property
    def depth(self) -> int:
        """Values that are kept."""
        return self.order + 1


@dataclass(frozen=True)
class Newton(_Order):
    """The polynomial through the newest ``order + 1`` values, as many as there are at first."""

    def weights(self, at: Sequence[float], to: float) -> list[float]:
        """Products (to − at_k) / (at_j − at_k) over the newest values."""
        used, weights = list(at[: self.depth]), []
        for j, own in enumerate(used):
            weight = 1.0
            for k, other in enumerate(used):
                if k != j:
                    weight *= (to - other) / (own - other)
            weights.append(weight)
        return weights + [0.0] * (len(at) - len(used))


@dataclass(frozen=True)
class Taylor(_Order):
    """TaylorSeer's recursion over the newest ``order + 1`` values."""

    def weights(self, at: Sequence[float], to: float) -> list[float]:
        """Each d_k as a combination of the values, then the sum of d_k h^k / k!."""
        used = min(len(at), self.depth)
        terms = [[float(i == j) for j in range(len(at))] for i in range(used)]
        weights, h = [0.0] * len(at), to - at[0]
        for k in range(used):
            weights = [w + d * h**k / factorial(k) for w, d in zip(weights, terms[0], strict=True)]
            terms = [
                [(a - b) / (at[i] - at[i + 1]) for a, b in zip(terms[i], terms[i + 1], strict=True)]
                for i in range(len(terms) - 1)
            ]
        return weights
