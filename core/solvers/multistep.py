"""The exponential multistep kernel: G is interpolated through its last values, and integrated exactly.

    u_n = k_n/k_p u_p + sum_j G_{i−j} ∫ weight(z) l_j(z) dz,     l_j: Lagrange polynomials on the nodes z_i, ...

With a corrector, the same integral is redone once G is known at the end of the step, and the difference is added there
(Zhao et al. 2023, arXiv:2302.04867, algorithm 1). The weights are integrated by Gauss's rule with 32 points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates, Seen
from fewstep.core.solvers.first_order import row
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.noise import Sde
from fewstep.core.solvers.tableau import Tableau

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)


@dataclass(frozen=True)
class Multistep:
    """Order k from k values of G; with a corrector, order k + 1 at no further evaluation."""

    order: int
    basis: Seen
    corrector: bool = False
    name: str = ""

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = self.basis.on(knots(path, times))
        n = len(c.z) - 1
        inside = c.usable[:-1] & np.isfinite(c.z[1:])
        patterns = self._patterns(c, inside)
        history = np.zeros((n, self.order + self.corrector))
        for pattern, rows in patterns.items():
            history[rows, : len(pattern)] = integrals(c, rows, rows[:, None] - pattern)
        state, noise = _linear(c, inside)
        for i in np.flatnonzero(~inside).tolist():
            state[i], noise[i], history[i, :1] = step(c, i, [])
        if self.corrector:
            history += state[:, None] * self._corrections(c, patterns, history)
        return tabulate(path, self.name, c, range(n + 1), state, history, noise)

    def _patterns(self, c: Coordinates, inside: NDArray[np.bool_]) -> dict[tuple[int, ...], NDArray[np.int64]]:
        """Which rows interpolate G through the knots that many rows back, newest first."""
        found: dict[tuple[int, ...], list[int]] = {}
        usable = c.usable.tolist()
        for i in np.flatnonzero(inside).tolist():
            back = tuple(j for j in range(min(self.order, i + 1)) if usable[i - j])
            found.setdefault(back, []).append(i)
        return {back: np.array(rows) for back, rows in found.items()}

    def _corrections(self, c: Coordinates, patterns: dict[tuple[int, ...], NDArray[np.int64]], history: Array) -> Array:
        """Weights, newest first, that turn the prediction at each knot into the corrected state there."""
        change = np.zeros_like(history)
        for pattern, all_rows in patterns.items():
            rows = all_rows[(all_rows + 1 < len(history)) & c.usable[all_rows + 1]]
            nodes = np.concatenate([rows[:, None] + 1, rows[:, None] - pattern], axis=1)
            change[rows + 1, : len(pattern) + 1] = integrals(c, rows, nodes)
            change[rows + 1, 1:] -= history[rows, :-1]
        return change


def integrals(c: Coordinates, rows: NDArray[np.int64], nodes: NDArray[np.int64]) -> Array:
    """∫ weight(z) l_j(z) dz over the steps from the knots `rows` [m], for the Lagrange polynomials on `nodes` [m, k].

    Returns
    -------
    numpy.ndarray
        [m, k].
    """
    half, middle = (c.z[rows + 1] - c.z[rows]) / 2, (c.z[rows + 1] + c.z[rows]) / 2
    points = middle[:, None] + half[:, None] * _POINTS
    weight = half[:, None] * _WEIGHTS * c.weight(points, rows[:, None] + 1)
    z, found = c.z[nodes], np.empty(nodes.shape)
    away = [points - z[:, j, None] for j in range(nodes.shape[1])]
    for j in range(nodes.shape[1]):
        value = weight
        for i in range(nodes.shape[1]):
            if i != j:
                value = value * away[i] / (z[:, j] - z[:, i])[:, None]
        found[:, j] = value.sum(1)
    return found


def _linear(c: Coordinates, inside: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Coefficients of u and eps in the rows that are not first-order exceptions."""
    k, eta = c.knots, c.basis.eta
    done = eta * np.diff(k.lam, prepend=0)[1:][inside] if eta else np.zeros(inside.sum())
    state, noise = np.zeros(len(inside)), np.zeros(len(inside))
    state[inside] = np.exp(-done) * c.scale[1:][inside] / c.scale[:-1][inside]
    noise[inside] = np.sqrt(-np.expm1(-2 * done)) * k.s[1:][inside]
    return state, noise


def step(c: Coordinates, i: int, nodes: list[int]) -> tuple[float, float, Array]:
    """Coefficients of u, eps and G for the step from knot i, with G interpolated through `nodes`.

    Where the variable is infinite at either end, the step is of first order: it is exact for constant D.
    """
    k, rule = c.knots, Sde(c.basis.eta)
    if nodes and nodes[0] == i and np.isfinite(c.z[i + 1]):
        carry, fresh = rule(float(k.lam[i + 1] - k.lam[i]), 1.0, 1.0)
        return carry * c.scale[i + 1] / c.scale[i], fresh * k.s[i + 1], integrate(c, i, nodes)
    of_u, of_d, of_eps = row(k, i, rule)
    mix_u, mix_d = c.mix[i]
    return of_u - of_d * mix_u / mix_d, of_eps, np.array([of_d / mix_d])


def integrate(c: Coordinates, i: int, nodes: list[int]) -> Array:
    """∫ weight(z) l_j(z) dz over the step from knot i, for the Lagrange polynomials on `nodes`, in their order."""
    if len(nodes) > 1:
        return integrals(c, np.array([i]), np.array([nodes]))[0]
    half = (c.z[i + 1] - c.z[i]) / 2
    return np.array([half * (_WEIGHTS * c.weight(c.z[i] + half * (1 + _POINTS), i + 1)).sum()])


def tabulate(
    path: AffinePath, name: str, c: Coordinates, ends: Sequence[int], state: Array, history: Array, noise: Array
) -> Tableau:
    """The table whose states lie at the knots `ends`; a row that ends where it starts is a stage of the step before."""
    at, k = np.array(ends), c.knots
    return Tableau(
        path=path.key,
        solver=name,
        times=k.times[at],
        a=k.a[at],
        b=k.b[at],
        s=k.s[at],
        state=state,
        history=history,
        mix=c.mix[at[:-1]],
        noise=noise,
        step=at[1:] - 1.0,
    )


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
