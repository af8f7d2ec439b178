"""The exponential multistep kernel: G is interpolated through its last values, and integrated exactly.

    u_n = k_n/k_p u_p + sum_j G_{i−j} ∫ weight(z) l_j(z) dz,     l_j: Lagrange polynomials on the nodes z_i, ...

With a corrector, the same integral is redone once G is known at the end of the step, and the difference is added there
(Zhao et al. 2023, arXiv:2302.04867, algorithm 1). The weights are integrated by Gauss's rule with 32 points.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis
from fewstep.core.solvers.first_order import row
from fewstep.core.solvers.knots import Array, Knots, knots
from fewstep.core.solvers.noise import Sde
from fewstep.core.solvers.tableau import Tableau

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)


@dataclass(frozen=True)
class Multistep:
    """Order k from k values of G; with a corrector, order k + 1 at no further evaluation."""

    order: int
    basis: Basis
    corrector: bool = False
    name: str = ""

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        k = knots(path, times)
        n = len(k.times) - 1
        usable, mix = self.basis.usable(k), self.basis.mix(k)
        history = np.zeros((n, self.order + self.corrector))
        state, noise = np.zeros(n), np.zeros(n)
        for i in range(n):
            nodes = [j for j in range(i, max(i - self.order, -1), -1) if usable[j]]
            state[i], noise[i], weights = step(self.basis, k, i, nodes)
            history[i, : len(weights)] += weights
            if i and self.corrector and usable[i]:
                history[i] += state[i] * self._correction(k, i, usable)
        return Tableau(
            path.key, self.name, k.times, k.a, k.b, k.s, state, history, mix[:-1], noise, np.arange(float(n))
        )

    def _correction(self, k: Knots, i: int, usable: NDArray[np.bool_]) -> Array:
        """Weights, newest first, that turn the prediction at knot i into the corrected state there."""
        nodes = [j for j in range(i - 1, max(i - 1 - self.order, -1), -1) if usable[j]]
        change = np.zeros(self.order + 1)
        if nodes:
            change[: len(nodes) + 1] += integrate(self.basis, k, i - 1, [i, *nodes])
            change[1 : len(nodes) + 1] -= integrate(self.basis, k, i - 1, nodes)
        return change


def step(basis: Basis, k: Knots, i: int, nodes: list[int]) -> tuple[float, float, Array]:
    """Coefficients of u, eps and G for the step from knot i, with G interpolated through `nodes`.

    Where the variable is infinite at either end, the step is of first order: it is exact for constant D.
    """
    _, fresh = Sde(basis.eta)(k.lam[i + 1] - k.lam[i], 1.0, 1.0)
    if nodes and nodes[0] == i and np.isfinite(basis.variable(k)[i + 1]):
        scale = basis.scale(k)
        damping = math.exp(-basis.eta * (k.lam[i + 1] - k.lam[i])) if basis.eta else 1.0
        return damping * scale[i + 1] / scale[i], fresh * k.s[i + 1], integrate(basis, k, i, nodes)
    of_u, of_d, of_eps = row(k, i, Sde(basis.eta))
    mix_u, mix_d = basis.mix(k)[i]
    return of_u - of_d * mix_u / mix_d, of_eps, np.array([of_d / mix_d])


def integrate(basis: Basis, k: Knots, i: int, nodes: list[int]) -> Array:
    """∫ weight(z) l_j(z) dz over the step from knot i, for the Lagrange polynomials on `nodes`, in their order."""
    z = basis.variable(k)
    half, middle = (z[i + 1] - z[i]) / 2, (z[i + 1] + z[i]) / 2
    points = middle + half * _POINTS
    weight = half * _WEIGHTS * basis.weight(points, k, i + 1)
    return np.array([weight @ _lagrange(points, z[nodes], j) for j in range(len(nodes))])


def _lagrange(points: Array, nodes: Array, j: int) -> Array:
    others = np.delete(nodes, j)
    return np.prod((points[:, None] - others) / (nodes[j] - others), axis=1)


def multistep(
    order: int, basis: str = "lambda", *, corrector: bool = False, sigma_data: float = 0.5, eta: float = 0.0
) -> Multistep:
    """Exact-Lagrange exponential multistep of any order, one evaluation per step.

    Parameters
    ----------
    order
        Number of values of G that are interpolated, at least 1; the first steps use those that there are.
    basis
        ``"lambda"`` (DPM-Solver++, UniP), ``"eps"`` (DPM-Solver), ``"rho"`` (DEIS) or ``"trig"``.
    corrector
        Correct each step with the next evaluation (UniPC), which raises the order by one.
    sigma_data
        Standard deviation of the data, read by ``"trig"`` only.
    eta
        Noise rate of the reverse SDE (SDE-DPM-Solver++ at 1), for ``"lambda"`` without a corrector only.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Zhao et al. 2023, arXiv:2302.04867; Zhang & Chen 2023, arXiv:2204.13902.
    """
    if order < 1:
        raise UsageError(f"expected order >= 1, got {order}")
    if corrector and eta:
        raise UsageError(f"a corrector needs a deterministic solver, got eta={eta}")
    options = f", corrector={corrector}" * corrector + f", {sigma_data=}" * (basis == "trig") + f", {eta=}" * bool(eta)
    return Multistep(order, Basis(basis, sigma_data, eta), corrector, f"multistep({order}, {basis!r}{options})")
