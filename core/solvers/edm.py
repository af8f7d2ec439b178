"""EDM's stochastic sampler: before each step noise is added, then Heun's step goes further down (Karras et al. 2022).

    sigma_hat = (1 + gamma) sigma,   u/a += sqrt(sigma_hat² − sigma²) s_noise eps,   gamma = min(churn/n, sqrt(2) − 1)

arXiv:2206.00364, algorithm 2, in sigma = s/a on any path. The first state is drawn from the prior, so no noise is added
to it, and sigma_hat never exceeds the first sigma.
"""

import math
from dataclasses import dataclass
from typing import Any

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.pndm import move
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.singlestep import first_weights
from fewstep.core.solvers.stages import look_up
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class EdmStochastic:
    """Two evaluations per step, one for a step to or from a time at which the slope is infinite."""

    churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float
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
        z = Basis("rho").on(k).z
        hats = [self._hat(z, i) for i in range(n + 1)]
        churned = [k.times[i] if hat == z[i] else float(path.inverse(-math.log(hat))) for i, hat in enumerate(hats)]
        c = Basis("rho").on(look_up(path, [*k.times, *churned]))
        rows = Recorder(path, self.name, c.knots, c.mix)
        for i in range(n):
            self._step(rows, c, n + 1 + i, i + 1, n + 2 + i)
        return rows.table()

    def _hat(self, z: Array, i: int) -> float:
        n = len(z) - 1
        if not (0 < i < n and self.s_tmin <= z[i] <= self.s_tmax and self.churn):
            return float(z[i])
        return min(float(z[i]) * (1 + min(self.churn / n, math.sqrt(2) - 1)), float(z[0]))

    def _step(self, rows: Recorder, c: Coordinates, p: int, n: int, hat: int) -> None:
        """From knot p to knot n by Heun's method, and up to the knot `hat` by noise."""
        base, number = rows.newest, n - 1
        if not (c.usable[p] and c.usable[n]):
            move(rows, c, p, n, number, {base: 1.0})
            return
        move(rows, c, p, n, number, {base: 1.0})
        up = c.knots.a[hat] / c.knots.a[n]
        noise = c.knots.a[hat] * math.sqrt(max(c.z[hat] ** 2 - c.z[n] ** 2, 0.0)) * self.s_noise
        of_u, weight = first_weights(c, p, n)
        half = up * weight / 2
        rows.row(hat, number, up * of_u, {base: half, base + 1: half}, base=base, noise=noise)


def edm_stochastic(
    churn: float = 40.0, *, s_tmin: float = 0.0, s_tmax: float = math.inf, s_noise: float = 1.0
) -> EdmStochastic:
    """EDM's stochastic sampler.

    Parameters
    ----------
    churn
        S_churn, at least 0; 0 is `heun`.
    s_tmin, s_tmax
        Noise is added while s/a is between these, in the data's unit.
    s_noise
        Multiplies the standard deviation of the added noise.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, algorithm 2 and table 5.
    """
    if not churn >= 0 or not s_noise >= 0:
        raise UsageError(f"expected churn >= 0 and s_noise >= 0, got {churn=}, {s_noise=}")
    if not 0 <= s_tmin <= s_tmax:
        raise UsageError(f"expected 0 <= s_tmin <= s_tmax, got {s_tmin=}, {s_tmax=}")
    name = f"edm_stochastic({churn=}, {s_tmin=}, {s_tmax=}, {s_noise=})"
    return EdmStochastic(float(churn), s_tmin, s_tmax, s_noise, name)
