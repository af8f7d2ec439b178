"""Adams-Bashforth in time, for flows: the velocity is interpolated through its last values, for steps of any size.

u_n = u_p + sum_j v_{i−j} ∫ l_j(t) dt          (Hairer, Nørsett & Wanner 1993, section III.5)
"""

from dataclasses import dataclass
from typing import Any

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.quadrature import lagrange
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.singlestep import first_weights
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.velocity import Velocity


@dataclass(frozen=True)
class Adams:
    """One evaluation per step; the first steps use the values that there are."""

    order: int
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = Velocity(path).on(knots(path, times))
        rows = Recorder(path, self.name, c.knots, c.mix)
        for i in range(len(c.z) - 1):
            nodes = [j for j in range(i, max(i - self.order, -1), -1) if c.usable[j]]
            of_u, weight = first_weights(c, i, i + 1)
            weights = dict(zip(nodes, lagrange(c, i, i + 1, nodes), strict=True)) if nodes else {i: weight}
            rows.row(i + 1, i, of_u, weights)
        return rows.table()


def adams(order: int = 2) -> Adams:
    """Adams-Bashforth on the velocity in t, of any order; 1 is `euler`.

    Parameters
    ----------
    order
        Number of values that are interpolated, at least 1.

    Raises
    ------
    UsageError
        If `order` is less than 1.

    References
    ----------
    Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I, section III.5.
    """
    if order < 1:
        raise UsageError(f"expected order >= 1, got {order}")
    return Adams(order, f"adams({order})")


def euler() -> Adams:
    """Euler's method in t on the velocity; on a rectified flow it is DDIM.

    References
    ----------
    Lipman et al. 2023, arXiv:2210.02747, section 6; Liu et al. 2023, arXiv:2209.03003, equation 3.
    """
    return Adams(1, "euler()")
