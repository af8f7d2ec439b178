"""What a method is given: starts, the ends that a fine solver reaches from them, an objective and a budget.

It remembers the best table that it was asked about, so that no method can end worse than where it began.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.default import Default
from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.tune.follow import follow
from fewstep.core.types import Denoise

Objective = Callable[[Tensor, Tensor], float]


class Spent(Exception):
    """The budget is used up."""


def median(got: Tensor, wanted: Tensor) -> float:
    """Median over the samples of the root-mean-square error."""
    return float((got - wanted).abs().square().flatten(1).mean(1).sqrt().median())


def mean(got: Tensor, wanted: Tensor) -> float:
    """Root-mean-square error over everything."""
    return float((got - wanted).abs().square().mean().sqrt())


OBJECTIVES: dict[str, Objective] = {"median": median, "mean": mean}


@dataclass
class Trial:
    """One search.

    Parameters
    ----------
    denoise, path
        What is sampled.
    x, y
        Starts at `path.t_max` and the degraded ends, [batch, ...]; `y` None is 0.
    steps
        Of the tables that are wanted.
    fine
        The solver of the reference.
    objective
        (got, wanted) -> error.
    budget
        How many tables may be run.
    ends
        What the objective compares with; None: the ends of `fine`.

    `family` is the default solver with the best parameters so far, and `history` the objective of each table.
    """

    denoise: Denoise
    path: AffinePath
    x: Tensor
    y: Tensor | None
    steps: int
    fine: Default
    objective: Objective
    budget: int
    ends: Tensor | None = None
    family: Default = field(init=False)
    history: list[float] = field(default_factory=list, init=False)
    _best: tuple[float, Tableau] | None = field(default=None, init=False)
    _seen: dict[Tableau, float] = field(default_factory=dict, init=False)
    _wanted: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.family, self._wanted = self.fine, self.ends

    @property
    def best(self) -> Tableau:
        """The best table so far."""
        assert self._best is not None, "the start is run before any method"
        return self._best[1]

    @property
    def wanted(self) -> Tensor:
        """The given ends, or where the fine solver leads, [batch, ...]."""
        if self._wanted is None:
            self._wanted = self._fine(self.fine.tableau(self.path, max(200, 10 * self.steps)))[-1]
        return self._wanted

    def loss(self, table: Tableau) -> float:
        """The objective for a table; infinite if a state is.

        Raises
        ------
        Spent
            If the budget is used up.
        UsageError
            If the table draws noise.
        """
        if table in self._seen:
            return self._seen[table]
        if table.noise.any():
            raise UsageError(f"{table} draws noise: only deterministic tables can be compared with a trajectory")
        wanted = self.wanted
        if len(self.history) >= self.budget:
            raise Spent
        with torch.no_grad():
            value = self.objective(follow(self.denoise, table, self.x, self.y)[-1], wanted)
        value = value if np.isfinite(value) else float("inf")
        self._seen[table] = value
        if self._best is None or value < self._best[0]:
            self._best = (value, table)
        self.history.append(value)
        return value

    def reference(self, times: Array) -> list[Tensor]:
        """States u of the fine solver at decreasing times of the path that start where x is, [n + 1] of them."""
        parts = max(8, -(-120 // (len(times) - 1)))
        with np.errstate(over="ignore"):
            sigma = np.exp(-self.path.lam(torch.from_numpy(times.copy())).numpy())
        angle = np.arctan2(sigma, self.fine.scale)
        between = np.concatenate([np.linspace(p, n, parts, endpoint=False)[1:] for p, n in pairwise(angle)])
        split = self.path.inverse(-torch.log(self.fine.scale * torch.tan(torch.from_numpy(between)))).numpy()
        pieces = zip(times[:-1], split.reshape(len(times) - 1, -1), strict=True)
        grid = np.append(np.concatenate([[t, *inner] for t, inner in pieces]), times[-1])
        return self._fine(self.fine.tableau(self.path, grid))[::parts]

    def _fine(self, table: Tableau) -> list[Tensor]:
        with torch.no_grad():
            return follow(self.denoise, table, self.x, self.y)
