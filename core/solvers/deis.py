"""DEIS: the noise interpolated through its last values, in one of three variables (Zhang & Chen 2023).

    u_n/a_n = u_p/a_p + sum_j eps_{i−j} ∫ l_j d(s/a)          (arXiv:2204.13902, equations 14 and 15)

with Lagrange polynomials l_j in t (tAB), in rho = s/a (rhoAB), or in log rho, which is what diffusers calls DEIS.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.multistep import Multistep, multistep, step
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.tableau import Tableau

_BASIS = {"rho": "rho", "log_rho": "eps"}
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)


@dataclass(frozen=True)
class DeisInTime:
    """tAB: one evaluation per step; the first steps use the values that there are."""

    order: int
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = Basis("rho").on(knots(path, times))
        rows = Recorder(path, self.name, c.knots, c.mix)
        for i in range(len(c.z) - 1):
            nodes = [j for j in range(i, max(i - self.order, -1), -1) if c.usable[j]]
            of_u, _, weights = step(c, i, nodes[:1])
            if len(nodes) > 1:
                weights = _in_time(path, c, i, nodes)
            rows.row(i + 1, i, of_u, {i - j: weight for j, weight in enumerate(weights)})
        return rows.table()


def _in_time(path: AffinePath, c: Coordinates, i: int, nodes: list[int]) -> Array:
    half, middle = (c.z[i + 1] - c.z[i]) / 2, (c.z[i + 1] + c.z[i]) / 2
    t = path.inverse(-torch.log(torch.from_numpy(middle + half * _POINTS))).numpy()
    at = c.knots.times[nodes]
    found = []
    for j in range(len(nodes)):
        others = np.delete(at, j)
        found.append((_WEIGHTS * np.prod((t[:, None] - others) / (at[j] - others), axis=1)).sum())
    return half * c.knots.a[i + 1] * np.array(found)


def deis(order: int = 3, variant: str = "t") -> DeisInTime | Multistep:
    """DEIS, one evaluation per step.

    Parameters
    ----------
    order
        Number of values that are interpolated, 1 to 4 (the paper: 1 to 4, best 3).
    variant
        ``"t"``: tAB, the paper's default; ``"rho"``: rhoAB, `multistep` in the basis ``"rho"``; ``"log_rho"``: what
        diffusers runs by this name, `multistep` in the basis ``"eps"``.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Zhang & Chen 2023, arXiv:2204.13902, section 3 and appendix H.2.
    """
    if not 1 <= order <= 4:
        raise UsageError(f"expected order 1 to 4, got {order}")
    if variant == "t":
        return DeisInTime(order, f"deis({order})")
    if variant not in _BASIS:
        raise UsageError(f"expected variant 't', 'rho' or 'log_rho', got {variant!r}")
    return replace(multistep(order, _BASIS[variant]), name=f"deis({order}, {variant!r})")
