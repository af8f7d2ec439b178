"""Momentum: the noise is averaged over the steps, which widens the region of stability (Wizadwongsa et al. 2024).

    v_i = (1 − beta) v_{i−1} + beta eps_i,     u_n/a_n = u_p/a_p + (s_n/a_n − s_p/a_p) sum_j w_j v_{i−j}

Heavy ball keeps the Adams-Bashforth weights. GHVB's weights make up for the average: with w = 1 − shift and the
Adams-Bashforth series gamma, their polynomial is sum_k (gamma_k + gamma_{k−1} (1 − beta)/beta) w^k below the order.
Wizadwongsa et al. 2024, arXiv:2307.11118, section 4 and appendix; as Adams-Bashforth, for equal steps in s/a.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.pndm import ADAMS, move
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.tableau import Tableau

_GAMMA = (1.0, 1 / 2, 5 / 12, 3 / 8)


@dataclass(frozen=True)
class Momentum:
    """One evaluation per step and one more carried state; the first average is the first noise."""

    order: int
    beta: float
    general: bool
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = Basis("rho").on(knots(path, times))
        first = int(not c.usable[0])
        keep = np.where(np.arange(len(c.z)) > first, 1 - self.beta, 0.0) * c.usable
        mix = np.column_stack([c.mix * np.where(keep > 0, self.beta, 1.0)[:, None], keep])
        rows = Recorder(path, self.name, c.knots, mix)
        for i in range(len(c.z) - 1):
            known = range(i, max(i - self.order, first - 1), -1)
            move(rows, c, i, i + 1, i, dict(zip(known, self.weights(max(len(known), 1)), strict=False)))
        return rows.table()

    def weights(self, order: int) -> Array:
        """Weights of the newest averages, newest first, [order]; their sum is 1."""
        return ghvb_weights(order, self.beta) if self.general else ADAMS[order]


def ghvb_weights(order: int, beta: float) -> Array:
    """Weights of the averages v, newest first, that are of this order for the noise, [order]."""
    found = np.zeros(order)
    for k in range(order):
        factor = _GAMMA[k] + (_GAMMA[k - 1] * (1 - beta) / beta if k else 0.0)
        for j in range(k + 1):
            found[j] += factor * math.comb(k, j) * (-1) ** j
    return found


def heavy_ball(order: int = 1, *, beta: float = 0.8) -> Momentum:
    """Polyak's heavy ball on PLMS of this order; of first order for any beta < 1.

    Parameters
    ----------
    order
        Of the weights, 1 to 4.
    beta
        Part of the newest noise, in (0, 1]; 1 is `pndm` without warm-up.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Wizadwongsa et al. 2024, arXiv:2307.11118, section 4.1.
    """
    _check(order, beta)
    return Momentum(order, float(beta), False, f"heavy_ball({order}, {beta=})")


def ghvb(order: int = 2, *, beta: float = 0.8) -> Momentum:
    """Generalised heavy ball: "2.8" of the paper is order 3 with beta 0.8.

    Parameters
    ----------
    order
        1 to 4.
    beta
        Part of the newest noise, in (0, 1]; 1 is `pndm` without warm-up.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Wizadwongsa et al. 2024, arXiv:2307.11118, section 4.2.
    """
    _check(order, beta)
    return Momentum(order, float(beta), True, f"ghvb({order}, {beta=})")


def _check(order: int, beta: float) -> None:
    if order not in ADAMS:
        raise UsageError(f"expected order 1 to 4, got {order}")
    if not 0 < beta <= 1:
        raise UsageError(f"expected beta in (0, 1], got {beta}")
