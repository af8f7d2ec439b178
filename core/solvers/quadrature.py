"""Integrals that fill the tables: of powers and of Lagrange polynomials against a basis's weight, over any step.

    moment_m = ∫ weight(z) (z − z_p)^m / m! dz from z_p to z_n

In lam these are the phi functions of exponential integrators (Hochbruck & Ostermann 2010, Acta Numerica, section 2.1).
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fewstep.core.solvers.knots import Array, Knots

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)


class Line(Protocol):
    """What an integral needs to know: knots, the variable, where it may be used, and the weight of G."""

    @property
    def knots(self) -> Knots:
        """Times and the path's coefficients."""

    @property
    def z(self) -> Array:
        """The variable there."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Where the variable and G are finite."""

    @property
    def scale(self) -> Array:
        """What the linear part leaves."""

    @property
    def mix(self) -> Array:
        """G in terms of u and D."""

    def weight(self, z: Array, n: int) -> Array | float:
        """What G is integrated against at `z`, for a step that ends at knot n."""


def moments(c: Line, p: int, n: int, count: int) -> Array:
    """The first `count` moments over the step from knot p to knot n, [count].

    Parameters
    ----------
    c
        A grid as a basis sees it; the variable is finite at both knots.
    p, n
        Start and end.
    count
        How many.

    Returns
    -------
    numpy.ndarray
        Float64.
    """
    h = c.z[n] - c.z[p]
    part = (1 + _POINTS) / 2 * h
    weight = _WEIGHTS * h / 2 * c.weight(c.z[p] + part, n)
    return np.array([(weight * part**m).sum() / math.factorial(m) for m in range(count)])


def lagrange(c: Line, p: int, n: int, nodes: Sequence[int]) -> Array:
    """Weights of G at `nodes` that integrate every polynomial below their number over the step from p to n.

    Parameters
    ----------
    c
        A grid as a basis sees it.
    p, n
        Start and end of the step.
    nodes
        Distinct knots at which G is known.

    Returns
    -------
    numpy.ndarray
        In the order of `nodes`, [len(nodes)].
    """
    h = c.z[n] - c.z[p]
    at = (c.z[list(nodes)] - c.z[p]) / h
    powers = np.vander(at, increasing=True).T
    scales = np.array([math.factorial(m) / h**m for m in range(len(nodes))])
    return np.linalg.solve(powers, moments(c, p, n, len(nodes)) * scales)
