"""PNDM: classical multistep weights on the noise, with DDIM's transfer between times (Liu et al. 2022).

    u_n/a_n = u_p/a_p + (s_n/a_n − s_p/a_p) sum_j w_j eps_{i−j}          (arXiv:2202.09778, equations 9 to 12)

The weights are those of equal steps in s/a; elsewhere every order above one is of second order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.singlestep import first_weights
from fewstep.core.solvers.stages import look_up
from fewstep.core.solvers.tableau import Tableau

ADAMS = {
    1: np.array([1.0]),
    2: np.array([3, -1]) / 2,
    3: np.array([23, -16, 5]) / 12,
    4: np.array([55, -59, 37, -9]) / 24,
}
"""Adams-Bashforth weights for equal steps, newest first (Hairer, Nørsett & Wanner 1993, section III.1)."""

WARMUPS = ("none", "heun", "runge_kutta")


@dataclass(frozen=True)
class Pndm:
    """Pseudo linear multistep: one evaluation per step after the warm-up."""

    order: int
    warmup: str
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        k = knots(path, times)
        n = len(k.times) - 1
        c = Basis("rho").on(look_up(path, [*k.times, *(k.times[1:] + k.times[:-1]) / 2]))
        rows = Recorder(path, self.name, c.knots, c.mix)
        known: list[int] = []
        for i in range(n):
            if c.usable[i]:
                known.insert(0, rows.newest)
            if self._warms(c, i):
                (_heun if self.warmup == "heun" else _runge_kutta)(rows, c, i, n + 1 + i)
            else:
                newest = known[: self.order]
                weights = ADAMS[max(len(newest), 1)]
                move(rows, c, i, i + 1, i, dict(zip(newest, weights, strict=False)))
        return rows.table()

    def _warms(self, c: Coordinates, i: int) -> bool:
        first = int(not c.usable[0])
        length = {"none": 0, "heun": 1, "runge_kutta": self.order - 1}[self.warmup]
        return first <= i < first + length and bool(c.usable[i] and c.usable[i + 1])


def move(
    rows: Recorder, c: Coordinates, p: int, n: int, number: int, weights: Mapping[int, float], base: int | None = None
) -> None:
    """The transfer of DDIM from knot p to knot n with a mean of answers; of first order from a knot without noise."""
    of_u, weight = first_weights(c, p, n)
    of_answers = {j: weight * w for j, w in weights.items()} if c.usable[p] else {rows.newest: weight}
    rows.row(n, number, of_u, of_answers, base=base)


def _heun(rows: Recorder, c: Coordinates, i: int, middle: int) -> None:
    base = rows.newest
    move(rows, c, i, i + 1, i, {base: 1.0})
    move(rows, c, i, i + 1, i, {base: 0.5, base + 1: 0.5}, base)


def _runge_kutta(rows: Recorder, c: Coordinates, i: int, middle: int) -> None:
    base = rows.newest
    move(rows, c, i, middle, i, {base: 1.0})
    move(rows, c, i, middle, i, {base + 1: 1.0}, base)
    move(rows, c, i, i + 1, i, {base + 2: 1.0}, base)
    move(rows, c, i, i + 1, i, {base: 1 / 6, base + 1: 1 / 3, base + 2: 1 / 3, base + 3: 1 / 6}, base)


def pndm(order: int = 4, *, warmup: str = "heun") -> Pndm:
    """PNDM.

    Parameters
    ----------
    order
        1 to 4.
    warmup
        How the first steps get their order. ``"heun"``: two evaluations in the first step, then rising orders (PLMS as
        in latent diffusion; with order 2, S-PNDM). ``"runge_kutta"``: four in each of the first order − 1 steps, with
        the middle in time (with order 4, F-PNDM). ``"none"``: rising orders from the start (iPNDM).

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Liu et al. 2022, arXiv:2202.09778, algorithm 2 and appendix A.
    """
    if order not in ADAMS:
        raise UsageError(f"expected order 1 to 4, got {order}")
    if warmup not in WARMUPS:
        raise UsageError(f"expected warmup 'none', 'heun' or 'runge_kutta', got {warmup!r}")
    return Pndm(order, warmup, f"pndm({order}, {warmup=})")


def s_pndm() -> Pndm:
    """S-PNDM: second order after a first step of Heun's (Liu et al. 2022, arXiv:2202.09778, appendix A)."""
    return pndm(2, warmup="heun")


def f_pndm() -> Pndm:
    """F-PNDM: fourth order after three Runge-Kutta steps (Liu et al. 2022, arXiv:2202.09778, algorithm 2)."""
    return pndm(4, warmup="runge_kutta")
