"""Heun's method: predict the end of the step, ask the net there, and redo the step with the mean of both slopes.

Karras et al. 2022, arXiv:2206.00364, algorithm 1. In the ``"rho"`` basis it is that algorithm on any path.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.multistep import integrate, step, tabulate
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class Heun:
    """Two evaluations per step, one for a step to or from a time at which the slope is infinite."""

    basis: Basis
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = self.basis.on(knots(path, times))
        rows = [row for i in range(len(c.z) - 1) for row in self._rows(c, i)]
        ends, state, history = zip(*rows, strict=True)
        return tabulate(path, self.name, c, [0, *ends], np.array(state), np.array(history), np.zeros(len(rows)))

    def _rows(self, c: Coordinates, i: int) -> list[tuple[int, float, Array]]:
        """Knot of the end, and coefficients of u and of the last two G."""
        nodes = [i] if c.usable[i] else []
        of_u, _, weights = step(c, i, nodes)
        predict = (i + 1, of_u, np.array([weights[0], 0.0]))
        if not (nodes and c.usable[i + 1]):
            return [predict]
        correct = integrate(c, i, [i + 1, i]) - np.array([0.0, weights[0]])
        return [predict, (i + 1, 1.0, correct)]


def heun(basis: str = "rho", *, sigma_data: float = 0.5) -> Heun:
    """Heun's second-order method.

    Parameters
    ----------
    basis
        ``"rho"`` is EDM's sampler; ``"lambda"`` and ``"trig"`` are finite at both ends of more paths.
    sigma_data
        Standard deviation of the data, read by ``"trig"`` only.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, algorithm 1.
    """
    return Heun(Basis(basis, sigma_data), f"heun({basis!r}" + f", {sigma_data=}" * (basis == "trig") + ")")
