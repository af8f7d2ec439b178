"""Unified search: what each step does — where it ends, its order, whether it is corrected — and in which basis.

(Liu et al. 2023, S³, arXiv:2312.07243.) Evolution with a predictor: a ridge regression on what was run ranks many
children, and only the most promising are run.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.multistep import integrate, step, tabulate
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.tune.evolution import Angles
from fewstep.core.solvers.tune.trial import Trial

_ORDERS, _BASES = 3, ("trig", "lambda", "eps", "rho")


@dataclass(frozen=True)
class Decisions:
    """Angles of the inner times as parts of the largest [n − 1], orders [n], corrected or not [n], and the basis."""

    parts: Array
    order: NDArray[np.int64]
    corrected: NDArray[np.bool_]
    basis: int

    def features(self) -> Array:
        """What the predictor sees: logarithms of the steps, their squares, and indicators of the choices."""
        gaps = np.log(np.diff(self.parts, prepend=0.0, append=1.0))
        chosen = np.eye(_ORDERS)[self.order - 1].ravel()
        return np.concatenate([[1.0], gaps, gaps**2, chosen, self.corrected, np.eye(len(_BASES))[self.basis]])

    def tableau(self, path: AffinePath, times: Array, sigma_data: float) -> Tableau:
        """The table of these decisions on a grid."""
        c = Basis(_BASES[self.basis], sigma_data).on(knots(path, times))
        n = len(self.order)
        state, history = np.zeros(n), np.zeros((n, _ORDERS + 1))
        for i in range(n):
            state[i], _, of_past = step(c, i, _nodes(c, i, self.order[i]))
            history[i, : len(of_past)] = of_past
            if i and self.corrected[i] and c.usable[i]:
                before = _nodes(c, i - 1, self.order[i - 1])
                if before:
                    history[i, : len(before) + 1] += state[i] * integrate(c, i - 1, [i, *before])
                    history[i, 1 : len(before) + 1] -= state[i] * integrate(c, i - 1, before)
        name = f"schedule({_BASES[self.basis]!r}, {self.order.tolist()}, {self.corrected.astype(int).tolist()})"
        return tabulate(path, name, c, range(n + 1), state, history, np.zeros(n))


@dataclass(frozen=True)
class Schedule:
    """See `schedule`."""

    population: int
    parents: int
    generations: int
    guesses: int
    seed: int

    def __call__(self, trial: Trial) -> None:
        """Begin at the grid of the best table so far, with every basis."""
        rng, angles = np.random.default_rng(self.seed), Angles(trial.path, trial.family.scale)
        n, parts = trial.steps, angles.parts(trial.best.grid)
        seen: list[tuple[float, Decisions]] = []

        def run(one: Decisions) -> None:
            table = one.tableau(trial.path, angles.times(one.parts), trial.family.sigma_data)
            seen.append((trial.loss(table), one))

        for basis in range(len(_BASES)):
            for order in (2, 3):
                run(Decisions(parts, np.full(n, order), np.full(n, basis == 0), basis))
        for _ in range(self.generations):
            seen.sort(key=lambda pair: pair[0])
            best = [one for _, one in seen[: self.parents]]
            children = [_child(rng, best) for _ in range(self.population * self.guesses)]
            for k in np.argsort(_predicted(seen, children))[: self.population]:
                run(children[k])


def schedule(
    *, population: int = 20, parents: int = 10, generations: int = 12, guesses: int = 8, seed: int = 0
) -> Schedule:
    """Search the decisions of every step.

    Parameters
    ----------
    population, parents, generations
        How many are run and kept in each generation, and how many generations there are.
    guesses
        How many children the predictor sees for each one that is run; 1 leaves it without a choice.
    seed
        Of the search.

    Raises
    ------
    UsageError
        If a number is below 1.
    """
    if min(population, parents, generations, guesses) < 1:
        raise UsageError(f"expected positive numbers, got {population=}, {parents=}, {generations=}, {guesses=}")
    return Schedule(population, parents, generations, guesses, seed)


def _nodes(c: Coordinates, i: int, order: int) -> list[int]:
    return [j for j in range(i, max(i - int(order), -1), -1) if c.usable[j]]


def _child(rng: Any, parents: list[Decisions]) -> Decisions:
    """Each step from one of two parents, then changed now and then."""
    a, b = (parents[k] for k in rng.integers(len(parents), size=2))
    n = len(a.order)
    from_a, changed = rng.random(n) < 0.5, rng.random((2, n)) < 0.15
    gaps = [np.diff(one.parts, prepend=0.0, append=1.0) for one in (a, b)]
    mixed = np.where(from_a, *gaps) * np.exp(0.12 * rng.standard_normal(n))
    order = np.where(changed[0], rng.integers(1, _ORDERS + 1, n), np.where(from_a, a.order, b.order))
    corrected = np.where(from_a, a.corrected, b.corrected) ^ changed[1]
    return Decisions(np.cumsum(mixed / mixed.sum())[:-1], order, corrected, a.basis)


def _predicted(seen: list[tuple[float, Decisions]], children: list[Decisions]) -> Array:
    """Ridge regression of the logarithm of the loss."""
    finite = [(loss, one) for loss, one in seen if np.isfinite(loss)]
    design = np.array([one.features() for _, one in finite])
    side = np.log([max(loss, 1e-300) for loss, _ in finite])
    centre = side.mean()
    weights = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ (side - centre))
    return np.array([one.features() for one in children]) @ weights
