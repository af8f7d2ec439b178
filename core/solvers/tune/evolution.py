"""Evolutionary search over the times of a grid: keep the best, cross and mutate them.

(Li et al. 2023, AutoDiffusion, arXiv:2309.10438, algorithm 1, with the distance to the fine solver as the score.) Times
are told by their angle atan(sigma/scale), as parts of the way from the last to the first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.tune.trial import Trial
from fewstep.core.types import Solver


@dataclass(frozen=True)
class Evolution:
    """See `evolution`."""

    solver: Solver | None
    population: int
    parents: int
    generations: int
    spread: float
    seed: int

    def __call__(self, trial: Trial) -> None:
        """Begin at the grid of the best table so far."""
        rng = np.random.default_rng(self.seed)
        solver = self.solver or trial.family
        angles = Angles(trial.path, trial.family.scale)

        def loss(parts: Array) -> float:
            return trial.loss(solver.tableau(trial.path, angles.times(parts)))

        start = angles.parts(trial.best.grid)
        ranked = [(loss(start), start)]
        for generation in range(self.generations):
            spread = self.spread * 0.8**generation
            children = [self._child(rng, [parts for _, parts in ranked], spread) for _ in range(self.population)]
            ranked = sorted([*ranked, *((loss(child), child) for child in children)], key=lambda pair: pair[0])[
                : self.parents
            ]

    def _child(self, rng: Any, parents: list[Array], spread: float) -> Array:
        gaps = [np.diff(parents[k], prepend=0.0, append=1.0) for k in rng.integers(len(parents), size=2)]
        mixed = np.where(rng.random(len(gaps[0])) < 0.5, *gaps) * np.exp(spread * rng.standard_normal(len(gaps[0])))
        return np.cumsum(mixed / mixed.sum())[:-1]


def evolution(
    *,
    solver: Solver | None = None,
    population: int = 24,
    parents: int = 8,
    generations: int = 12,
    spread: float = 0.25,
    seed: int = 0,
) -> Evolution:
    """Search the grid of the best table so far.

    Parameters
    ----------
    solver
        What makes tables of the grids; default the default solver with the best parameters so far.
    population, parents, generations
        How many are tried and kept in each generation, and how many generations there are.
    spread
        Standard deviation of the mutation of the logarithm of a step; falls by a fifth per generation.
    seed
        Of the search.

    Raises
    ------
    UsageError
        If a number is not positive.
    """
    if min(population, parents, generations) < 1 or not spread > 0:
        raise UsageError(f"expected positive numbers, got {population=}, {parents=}, {generations=}, {spread=}")
    return Evolution(solver, population, parents, generations, spread, seed)


@dataclass(frozen=True)
class Angles:
    """Grids as the parts of the angle's range at which their inner times lie, increasing in (0, 1)."""

    path: AffinePath
    scale: float

    def times(self, parts: Array) -> Array:
        """Decreasing times, [len(parts) + 2]."""
        first, last = self._ends
        angle = torch.from_numpy(last + (first - last) * np.asarray(parts, dtype=np.float64)[::-1])
        inner = self.path.inverse(-torch.log(self.scale * torch.tan(angle))).numpy()
        return np.concatenate([[self.path.t_max], inner, [0.0]])

    def parts(self, times: Array) -> Array:
        """The inverse of `times`."""
        first, last = self._ends
        return ((self._angle(times[1:-1]) - last) / (first - last))[::-1].copy()

    @property
    def _ends(self) -> Array:
        return self._angle(np.array([self.path.t_max, 0.0]))

    def _angle(self, times: Array) -> Array:
        with np.errstate(over="ignore"):
            sigma = np.exp(-self.path.lam(torch.from_numpy(times.copy())).numpy())
        return np.arctan2(sigma, self.scale)
