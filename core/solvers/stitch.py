"""One solver at high noise, another at low noise: their tables, one after the other, each on its part of the grid.

The later one starts without history, as if alone (Pan et al. 2024, arXiv:2402.14167, with a solver per part).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Solver


@dataclass(frozen=True)
class Stitch:
    """Solvers by time."""

    parts: tuple[tuple[float, Solver], ...]

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path, or a solver refuses its part.
        """
        grid = knots(path, times).times
        ends = [int(np.searchsorted(-grid[:-1], -until)) for until, _ in self.parts[:-1]] + [len(grid) - 1]
        tables, begin = list[Tableau](), 0
        for end, (_, solver) in zip(ends, self.parts, strict=True):
            if end > begin:
                tables.append(solver.tableau(path, grid[begin : end + 1]))
            begin = max(begin, end)
        return _joined(tables)


def _joined(tables: Sequence[Tableau]) -> Tableau:
    depth = max(table.history.shape[1] for table in tables)
    counted = np.cumsum([0, *(table.steps for table in tables)])

    def states(name: str) -> Array:
        return np.concatenate([getattr(tables[0], name)[:1], *(getattr(table, name)[1:] for table in tables)])

    return Tableau(
        path=tables[0].path,
        solver="stitch(" + ", ".join(table.solver for table in tables) + ")",
        times=states("times"),
        a=states("a"),
        b=states("b"),
        s=states("s"),
        state=np.concatenate([table.state for table in tables]),
        history=np.concatenate([np.pad(t.history, ((0, 0), (0, depth - t.history.shape[1]))) for t in tables]),
        mix=np.concatenate([np.vstack([t.mix[:1] * [1.0, 1.0, 0.0], t.mix[1:]]) for t in tables]),
        noise=np.concatenate([table.noise for table in tables]),
        step=np.concatenate([table.step + first for table, first in zip(tables, counted, strict=False)]),
    )


def stitch(parts: Sequence[tuple[float, Solver]]) -> Stitch:
    """Switch solvers at given times.

    Parameters
    ----------
    parts
        (until, solver), from the prior to the data: each makes the steps that start above its `until`, the last all
        others.

    Raises
    ------
    UsageError
        If there is no part, or the times do not fall.

    References
    ----------
    Pan et al. 2024, arXiv:2402.14167.
    """
    times = [until for until, _ in parts]
    if not times or any(not later < earlier for earlier, later in pairwise(times)):
        raise UsageError(f"expected (until, solver) with falling times, got {times}")
    return Stitch(tuple(parts))
