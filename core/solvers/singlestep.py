"""Exponential singlestep methods: a step of order 2 or 3 from stages of its own, without memory.

    u_1 = first-order step to lam_p + r_1 h
    u_2 = the same to lam_p + r_2 h, with the slope (G_1 − G)/(r_1 h) integrated exactly
    u_n = with the slope (G_last − G)/(r_last h)

Order 2 with ``"midpoint"`` weighs the difference by half of its step, as published. The stages are the middle (order
2) or the thirds (order 3) of each step (Lu et al. 2022, arXiv:2206.00927, algorithms 1 and 2), or the grid's own times.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.first_order import row
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.noise import Ddim
from fewstep.core.solvers.quadrature import Line, moments
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.stages import with_stages
from fewstep.core.solvers.tableau import Tableau

_FRACTIONS = {2: (0.5,), 3: (1 / 3, 2 / 3)}


@dataclass(frozen=True)
class Singlestep:
    """Order 2 or 3 in ``"lambda"`` or ``"eps"``.

    Parameters
    ----------
    order
        2 or 3.
    basis
        What is integrated.
    variant
        ``"midpoint"`` (order 2 only) or ``"taylor"``.
    stages
        ``"middle"``: `order` evaluations per step of the grid. ``"grid"``: one; steps are taken in groups of `order`,
        the remainder in a smaller group, and a step to the end of the noise alone.
    name
        Of the table.

    Raises
    ------
    UsageError
        If an option is not as described.
    """

    order: int
    basis: Basis
    variant: str
    stages: str
    name: str

    def __post_init__(self) -> None:
        if self.variant not in ("midpoint", "taylor"):
            raise UsageError(f"expected variant 'midpoint' or 'taylor', got {self.variant!r}")
        if self.stages not in ("middle", "grid"):
            raise UsageError(f"expected stages 'middle' or 'grid', got {self.stages!r}")

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        if self.stages == "grid":
            return self._on_grid(path, self.basis.on(knots(path, times)))
        parts = _FRACTIONS[self.order]
        c = self.basis.on(with_stages(path, times, self.basis, parts))
        rows = Recorder(path, self.name, c.knots, c.mix)
        n = (len(c.z) - 1) // (1 + len(parts))
        for i in range(n):
            whole = c.usable[i] and np.isfinite(c.z[i + 1])
            first = n + 1 + i * len(parts)
            ends = [*range(first, first + len(parts)), i + 1] if whole else [i + 1]
            self._group(rows, c, i, ends, [i] * len(ends))
        return rows.table()

    def _on_grid(self, path: AffinePath, c: Coordinates) -> Tableau:
        rows = Recorder(path, self.name, c.knots, c.mix)
        for first, size in groups(c, self.order):
            steps = list(range(first, first + size))
            self._group(rows, c, first, [i + 1 for i in steps], steps)
        return rows.table()

    def _group(self, rows: Recorder, c: Coordinates, p: int, ends: list[int], steps: list[int]) -> None:
        """From knot p through `ends`: each of them starts from p again, with the newest slope."""
        base = rows.newest
        for stage, (end, number) in enumerate(zip(ends, steps, strict=True)):
            of_u, weight = first_weights(c, p, end)
            slope = 0.0
            if stage:
                moment = moments(c, p, end, 2)
                half = moment[0] * (c.z[end] - c.z[p]) / 2
                slope = (half if self.variant == "midpoint" else moment[1]) / (c.z[ends[stage - 1]] - c.z[p])
            weights = {base: weight - slope, rows.newest: slope} if stage else {base: weight}
            rows.row(end, number, of_u, weights, base=base)


def first_weights(c: Line, p: int, n: int) -> tuple[float, float]:
    """Weights of u and G of the first-order step from knot p to knot n; exact for constant D where lam is infinite."""
    if c.usable[p] and np.isfinite(c.z[n]):
        return float(c.scale[n] / c.scale[p]), float(moments(c, p, n, 1)[0])
    of_u, of_d, _ = row(c.knots, p, Ddim(0.0), n)
    mix_u, mix_d = c.mix[p]
    return of_u - of_d * mix_u / mix_d, of_d / mix_d


def groups(c: Coordinates, order: int) -> list[tuple[int, int]]:
    """(first step, number of steps) of groups of `order`; what remains is a group, a step to or from infinity is alone.

    As DPM-Solver spends its evaluations (Lu et al. 2022, arXiv:2206.00927, section 3.4).
    """
    n = len(c.z) - 1
    first = 0 if c.usable[0] or n == 1 else 1
    last = n if np.isfinite(c.z[-1]) or n == first else n - 1
    whole, rest = divmod(last - first, order)
    sizes = [1] * first + [order] * whole + [rest] * (rest > 0) + [1] * (n - last)
    starts = np.cumsum([0, *sizes[:-1]])
    return [(int(start), size) for start, size in zip(starts, sizes, strict=True)]
