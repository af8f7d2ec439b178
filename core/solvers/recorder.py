"""Write a sampler down as it is published, step from state to state, and get its table.

A row asks for the answer at the newest state and makes the next one from any earlier state and all answers so far:

    next = of_base u_base + sum_j weight_j G_j + noise eps

The table knows the newest state only, so an earlier one is written in terms of it and of the answers between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array, Knots
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class _Row:
    base: int
    of_base: float
    weights: dict[int, float]
    noise: float


@dataclass
class Recorder:
    """Rows of one table in the making; state i is the one at which answer i is asked, state 0 the first.

    Parameters
    ----------
    path, name
        What the table is for and called.
    knots
        Where states may lie, in any order.
    mix
        G in terms of u and D (and the G before) at each knot, [len(knots.times), 2 or 3].
    """

    path: AffinePath
    name: str
    knots: Knots
    mix: Array
    _rows: list[_Row] = field(default_factory=list)
    _ends: list[int] = field(default_factory=lambda: [0])
    _steps: list[int] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """Number of the newest state, and of the answer that is asked next."""
        return len(self._rows)

    def row(
        self,
        end: int,
        step: int,
        of_base: float,
        weights: Mapping[int, float],
        *,
        base: int | None = None,
        noise: float = 0.0,
    ) -> int:
        """Ask at the newest state, then move to knot `end`.

        Parameters
        ----------
        end, step
            Knot of the new state, and the step of the grid that it belongs to.
        of_base
            Weight of the state `base`, by default the newest.
        weights
            Weights of answers, by number.
        base
            A state since which no noise was drawn.
        noise
            Standard deviation of the noise that is added.

        Returns
        -------
        int
            Number of the new state.
        """
        base = self.newest if base is None else base
        assert all(j <= self.newest for j in weights), "an answer of the future"
        self._rows.append(_Row(base, float(of_base), {j: float(w) for j, w in weights.items()}, float(noise)))
        self._ends.append(end)
        self._steps.append(step)
        return self.newest

    def table(self) -> Tableau:
        """What was written, as a table."""
        found = [self._reduced(i) for i in range(len(self._rows))]
        depth = max(i - j + 1 for i, (_, weights) in enumerate(found) for j in [*weights, i])
        history = np.zeros((len(found), depth))
        for i, (_, weights) in enumerate(found):
            for j, weight in weights.items():
                history[i, i - j] += weight
        at, k = np.array(self._ends), self.knots
        return Tableau(
            path=self.path.key,
            solver=self.name,
            times=k.times[at],
            a=k.a[at],
            b=k.b[at],
            s=k.s[at],
            state=np.array([of_newest for of_newest, _ in found]),
            history=history,
            mix=self.mix[at[:-1]],
            noise=np.array([row.noise for row in self._rows]),
            step=np.array(self._steps, dtype=np.float64),
        )

    def _reduced(self, i: int) -> tuple[float, dict[int, float]]:
        """Row i in terms of state i: its weight, and those of the answers."""
        row = self._rows[i]
        if row.base == i:
            return row.of_base, row.weights
        common = self._common(i, row.base)
        (newest, since), (base, before) = self._since(common, i), self._since(common, row.base)
        state, weights = row.of_base * base / newest, dict(row.weights)
        for found, factor in ((before, row.of_base), (since, -state)):
            for j, weight in found.items():
                weights[j] = weights.get(j, 0.0) + factor * weight
        return state, {j: weight for j, weight in weights.items() if weight}

    def _common(self, i: int, j: int) -> int:
        """The newest state that both descend from."""
        while i != j:
            i, j = max(i, j), min(i, j)
            i = self._rows[i - 1].base
        return i

    def _since(self, base: int, i: int) -> tuple[float, dict[int, float]]:
        """State i = of_base u_base + weights, for a state `base` that it descends from."""
        of_base, weights = 1.0, dict[int, float]()
        while i != base:
            row = self._rows[i - 1]
            assert row.noise == 0, "no noise may have been drawn since the base of a row"
            for j, weight in row.weights.items():
                weights[j] = weights.get(j, 0.0) + of_base * weight
            of_base, i = of_base * row.of_base, row.base
        return of_base, weights
