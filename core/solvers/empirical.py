"""Multistep in a basis that is measured on a net: DPM-Solver-v3's empirical model statistics.

With ubar = u/a, N = ubar − D and two functions of lam, l and s, and their integrals L and S:

    d ubar/d lam = −N = −l ubar − f,    G = e^−S f,    u_n = k_n/k_p u_p − a_n ∫ e^{L + S − L_n} G d lam,    k = a e^−L

l takes the part of N that is linear in the state, s what f grows by; G then changes little, and is interpolated through
its last values. l = 1, s = 0 is DPM-Solver++; l = 0, s = −1 is DPM-Solver; on N(m, v) the right l and s are exact.
(Zheng et al. 2023, arXiv:2310.13268, section 3.) Their third function, a bias for each component, is no number of a
table: centre the data instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from fewstep.core.errors import UsageError
from fewstep.core.solvers.basis import Coordinates
from fewstep.core.solvers.knots import Array, Knots
from fewstep.core.solvers.multistep import Multistep


@dataclass(frozen=True)
class Statistics:
    """l and s at increasing values of lam; between them cubic splines, outside constant.

    Parameters
    ----------
    lam, l, s
        Equally many numbers each, two at least.

    Raises
    ------
    UsageError
        If they are not as described.
    """

    lam: tuple[float, ...]
    l: tuple[float, ...]  # noqa: E741 - the paper's letter
    s: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.array([self.lam, self.l, self.s]) if len(self.lam) == len(self.l) == len(self.s) else None
        if values is None or values.shape[1] < 2 or not np.isfinite(values).all() or (np.diff(values[0]) <= 0).any():
            raise UsageError(
                "expected l and s at two or more increasing values of lam, all finite and equally many, got "
                f"{len(self.lam)}, {len(self.l)} and {len(self.s)} numbers"
            )

    @classmethod
    def gaussian(cls, sigma_data: float, *, least: float = -6.0, most: float = 8.0, points: int = 141) -> Statistics:
        """Those of N(m, sigma_data² I) for any mean m: l = sigma²/(sigma² + sigma_data²), s = 2 l − 2.

        Parameters
        ----------
        sigma_data
            Standard deviation, positive.
        least, most, points
            Where they are kept, in lam.
        """
        lam = np.linspace(least, most, points)
        part = 1 / (1 + sigma_data**2 * np.exp(2 * lam))
        return cls(tuple(lam.tolist()), tuple(part.tolist()), tuple((2 * part - 2).tolist()))

    def at(self, lam: Array) -> tuple[Array, Array, Array]:
        """(l, L, S) at finite lam; L and S are 0 at the first value kept."""
        inside = np.clip(lam, self.lam[0], self.lam[-1])
        beyond = lam - inside
        l, s = (CubicSpline(self.lam, values) for values in (self.l, self.s))  # noqa: E741
        here, grows = l(inside), s(inside)
        return here, l.antiderivative()(inside) + here * beyond, s.antiderivative()(inside) + grows * beyond


@dataclass(frozen=True)
class Empirical:
    """The basis of some statistics."""

    statistics: Statistics
    eta: float = 0.0

    def on(self, k: Knots) -> Coordinates:
        """The coordinates of a grid: z = lam."""
        usable = np.isfinite(k.lam)
        scale, mix = k.a.copy(), np.tile([0.0, 1.0], (len(k.lam), 1))
        l, L, S = self.statistics.at(k.lam[usable])  # noqa: E741
        scale[usable] *= np.exp(-L)
        mix[usable] = np.exp(-S)[:, None] * np.stack([(1 - l) / k.a[usable], -np.ones_like(l)], axis=1)
        return Coordinates(self, k, k.lam, usable, scale, mix)

    def weight(self, c: Coordinates, z: Array, n: int | NDArray[np.int64]) -> Array | float:
        """−e^{L + S} at `z` times the scale at the end of the step."""
        _, L, S = self.statistics.at(z)
        return -np.exp(L + S) * c.scale[n]


def empirical(statistics: Statistics, order: int = 3, *, corrector: bool = True) -> Multistep:
    """DPM-Solver-v3 on measured statistics.

    Parameters
    ----------
    statistics
        Of the net, see `fewstep.core.solvers.tune.statistics`, or of a law.
    order
        Number of values of G that are interpolated, at least 1.
    corrector
        Correct each step with the next evaluation, which raises the order by one.

    Raises
    ------
    UsageError
        If `order` is below 1.

    References
    ----------
    Zheng et al. 2023, arXiv:2310.13268, algorithms 1 and 2.
    """
    if order < 1:
        raise UsageError(f"expected order >= 1, got {order}")
    options = f", corrector={corrector}" if not corrector else ""
    name = f"empirical({len(statistics.lam)} points, {order}{options})"
    return Multistep(order, Empirical(statistics), corrector, name)
