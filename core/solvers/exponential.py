"""Exponential multistep methods as they are published, order by order: the engine of DPM-Solver, DPM-Solver++, SDE.

With J_m = ∫ weight (lam − lam_p)^m/m! dlam and backward differences d1, d2 of the last answers,

    u_n = k_n/k_p u_p + J_0 G + J_1 d1 + 2 J_2 d2 + noise          (Lu et al. 2022, arXiv:2211.01095, appendix B)

The published third-order methods write J_2 in the place of 2 J_2, and are of second order therefore.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.multistep import step
from fewstep.core.solvers.quadrature import moments
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.tableau import Tableau

VARIANTS = {1: ("taylor",), 2: ("midpoint", "taylor"), 3: ("exact", "published")}
FINALS = ("smooth", "lower", "full")


@dataclass(frozen=True)
class Exponential:
    """One evaluation per step.

    Parameters
    ----------
    order
        1, 2 or 3; the first steps use the orders that there are answers for.
    basis
        ``"lambda"`` or ``"eps"``, with its noise rate.
    variant
        What is done with the differences at the highest order, see `VARIANTS`; second-order steps of a third-order
        method are ``"taylor"``.
    final
        ``"smooth"``: of first order where the noise ends, and of at most second before, if the grid ends there.
        ``"lower"``: the same wherever the grid ends, as published for few steps. ``"full"``: the highest order that
        there are answers for, up to the step that ends the noise.
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
    final: str
    name: str

    def __post_init__(self) -> None:
        if self.order not in VARIANTS:
            raise UsageError(f"expected order 1, 2 or 3, got {self.order}")
        if self.variant not in VARIANTS[self.order]:
            known = " or ".join(map(repr, VARIANTS[self.order]))
            raise UsageError(f"expected variant {known}, got {self.variant!r}")
        if self.final not in FINALS:
            raise UsageError(f"expected final 'smooth', 'lower' or 'full', got {self.final!r}")

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = self.basis.on(knots(path, times))
        rows = Recorder(path, self.name, c.knots, c.mix)
        for i, order in enumerate(orders(c, self.order, self.final)):
            of_u, noise, weights = step(c, i, [i] if c.usable[i] else [])
            if order > 1:
                variant = self.variant if order == self.order else "taylor"
                weights = difference_weights(c, i, order, variant)
            rows.row(i + 1, i, of_u, {i - j: weight for j, weight in enumerate(weights)}, noise=noise)
        return rows.table()


def orders(c: Coordinates, order: int, final: str) -> list[int]:
    """The order of each step: as many answers as there are, fewer towards the end."""
    n, found = len(c.z) - 1, []
    falls = final == "lower" or (final == "smooth" and not np.isfinite(c.z[-1]))
    for i in range(n):
        known = 0
        while known < order and i - known >= 0 and c.usable[i - known]:
            known += 1
        known = max(known, 1) if np.isfinite(c.z[i + 1]) else 1
        found.append(min(known, n - i) if falls else known)
    return found


def difference_weights(c: Coordinates, i: int, order: int, variant: str) -> Array:
    """Weights of the newest `order` answers for the step from knot i, newest first."""
    moment, z = moments(c, i, i + 1, 3), c.z
    back = z[i] - z[i - 1]
    if order == 2:
        slope = moment[1] / back if variant == "taylor" else moment[0] * (z[i + 1] - z[i]) / back / 2
        return np.array([moment[0] + slope, -slope])
    before = z[i - 1] - z[i - 2]
    of_curve = (2 if variant == "exact" else 1) * moment[2] + moment[1] * back
    newest, older = np.array([1, -1, 0]) / back, np.array([0, 1, -1]) / before
    curve = (newest - older) / (back + before)
    return np.array([moment[0], 0, 0]) + moment[1] * newest + of_curve * curve
