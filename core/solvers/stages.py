"""Knots between those of a grid: where the stages of a step lie, in whichever variable the step is cut."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis
from fewstep.core.solvers.knots import Array, Knots, knots
from fewstep.core.solvers.quadrature import Line


def look_up(path: AffinePath, times: Sequence[float] | Array) -> Knots:
    """The coefficients at any times in any order: those of a checked grid, and of stages between them."""
    t = torch.as_tensor(np.array(times, dtype=np.float64))
    a, b, s = (value.numpy() for value in path.coefficients(t))
    return Knots(t.numpy(), a, b, s, path.lam(t).numpy())


class Variable(Protocol):
    """What steps are cut in: a `Basis`, or time."""

    @property
    def name(self) -> str:
        """Of the variable."""

    def on(self, k: Knots) -> Line:
        """The coordinates of a grid."""


def with_stages(path: AffinePath, times: object, basis: Variable, fractions: Sequence[float]) -> Knots:
    """A checked grid, then for each step the knots at these fractions of the way in the basis's variable.

    Parameters
    ----------
    path
        The process.
    times
        A decreasing grid, [n + 1].
    basis
        Whose variable is cut; a step whose ends are not usable gets its end again.
    fractions
        Of each step, in (0, 1].

    Returns
    -------
    Knots
        Of length n + 1 + n len(fractions): stage j of step i is at n + 1 + i len(fractions) + j.

    Raises
    ------
    UsageError
        If the times are not a decreasing grid within the path.
    """
    k = knots(path, times)
    c = basis.on(k)
    z = c.z
    found = list(k.times)
    for i in range(len(z) - 1):
        inside = c.usable[i] and np.isfinite(z[i + 1])
        h = z[i + 1] - z[i] if inside else 0.0
        found += [_time(path, basis, z[i] + part * h) if inside and part < 1 else k.times[i + 1] for part in fractions]
    return look_up(path, found)


def _time(path: AffinePath, basis: Variable, z: float) -> float:
    if basis.name == "t":
        return float(z)
    if basis.name in ("lambda", "eps"):
        return float(path.inverse(z))
    scale = math.tan(z) * basis.sigma_data if isinstance(basis, Basis) and basis.name == "trig" else z
    return float(path.inverse(-math.log(scale)))
