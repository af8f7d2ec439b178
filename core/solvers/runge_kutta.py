"""Explicit Runge-Kutta methods in any variable in which nothing but G is integrated: t (flows), s/a, or the trig angle.

K_i = G(u_p + h sum_j A_ij K_j, z_p + c_i h),     u_n = u_p + h sum_i b_i K_i          (u/k in the place of u)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis
from fewstep.core.solvers.quadrature import Line, moments
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.singlestep import first_weights
from fewstep.core.solvers.stages import with_stages
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.velocity import Velocity


@dataclass(frozen=True)
class Butcher:
    """A Butcher tableau: the weights of each stage, those of the step, and what to do if the last stage is at s = 0."""

    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    instead: str = ""


METHODS = {
    "midpoint": Butcher(((0.5,),), (0.0, 1.0)),
    "heun": Butcher(((1.0,),), (0.5, 0.5), "midpoint"),
    "ralston": Butcher(((2 / 3,),), (0.25, 0.75)),
    "rk3": Butcher(((0.5,), (0.0, 0.75)), (2 / 9, 1 / 3, 4 / 9)),
    "rk4": Butcher(((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), "rk3"),
}
"""Hairer, Nørsett & Wanner 1993, section II.1; rk3 and ralston: Ralston 1962, Mathematics of Computation 16."""


@dataclass(frozen=True)
class RungeKutta:
    """As many evaluations per step as stages; each step stands alone."""

    method: str
    basis: str
    sigma_data: float
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        variable = Velocity(path) if self.basis == "t" else Basis(self.basis, self.sigma_data)
        inner = [_nodes(METHODS[name]) for name in (self.method, METHODS[self.method].instead) if name]
        parts = [part for nodes in inner for part in nodes]
        c = variable.on(with_stages(path, times, variable, parts))
        rows = Recorder(path, self.name, c.knots, c.mix)
        n = (len(c.z) - 1) // (1 + len(parts))
        for i in range(n):
            first = n + 1 + i * len(parts)
            if not (c.usable[i] and np.isfinite(c.z[i + 1])):
                of_u, weight = first_weights(c, i, i + 1)
                rows.row(i + 1, i, of_u, {rows.newest: weight})
            elif METHODS[self.method].instead and not c.usable[i + 1]:
                _step(rows, c, METHODS[METHODS[self.method].instead], i, first + len(inner[0]))
            else:
                _step(rows, c, METHODS[self.method], i, first)
        return rows.table()


def _nodes(method: Butcher) -> list[float]:
    return [sum(stage) for stage in method.stages]


def _step(rows: Recorder, c: Line, method: Butcher, i: int, first: int) -> None:
    """Stages at knots `first` and on, then the end of step i."""
    base = rows.newest
    h = c.z[i + 1] - c.z[i]
    ends = [*range(first, first + len(method.stages)), i + 1]
    for end, weights in zip(ends, (*method.stages, method.weights), strict=True):
        per_unit = moments(c, i, end, 1)[0] / (c.z[end] - c.z[i])
        of_base = float(c.scale[end] / c.scale[i])
        rows.row(end, i, of_base, {base + j: h * per_unit * w for j, w in enumerate(weights) if w}, base=base)


def runge_kutta(method: str = "rk4", basis: str = "t", *, sigma_data: float = 0.5) -> RungeKutta:
    """A Runge-Kutta method; steps whose last stage would lie at s = 0 use one of the same kind that does not ask there.

    Parameters
    ----------
    method
        ``"midpoint"``, ``"heun"``, ``"ralston"`` (second order), ``"rk3"`` or ``"rk4"``.
    basis
        ``"t"``: the velocity in time, as flows are solved; ``"rho"``: s/a; ``"trig"``.
    sigma_data
        Standard deviation of the data, read by ``"trig"`` only.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I, section II.1.
    """
    if method not in METHODS:
        raise UsageError(f"expected a method out of {', '.join(METHODS)}, got {method!r}")
    if basis not in ("t", "rho", "trig"):
        raise UsageError(f"expected basis 't', 'rho' or 'trig', got {basis!r}")
    if not sigma_data > 0:
        raise UsageError(f"expected sigma_data > 0, got {sigma_data}")
    options = f", {sigma_data=}" * (basis == "trig")
    return RungeKutta(method, basis, sigma_data, f"runge_kutta({method!r}, {basis!r}{options})")
