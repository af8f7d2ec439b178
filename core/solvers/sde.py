"""Solvers of the reverse SDE whose noise rate is scaled by sqrt(eta): exact noise, data prediction for the drift.

    u_n = e^{−eta h} s_n/s_p u + a_n ∫ (1 + eta) e^{(1 + eta)(lam − lam_n)} D dlam + s_n sqrt(1 − e^{−2 eta h}) eps

Lu et al. 2022, arXiv:2211.01095, section 5; the stages of SEEDS: Gonzalez et al. 2023, arXiv:2305.14267.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.exponential import Exponential
from fewstep.core.solvers.first_order import FirstOrder, row
from fewstep.core.solvers.noise import Sde
from fewstep.core.solvers.quadrature import moments
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.stages import with_stages
from fewstep.core.solvers.tableau import Tableau


def sde_dpmpp_1(eta: float = 1.0) -> FirstOrder:
    """SDE-DPM-Solver++(1): `sde_euler`, and SEEDS-1 (Gonzalez et al. 2023, arXiv:2305.14267, equation 14).

    Raises
    ------
    UsageError
        If `eta` is negative.
    """
    return FirstOrder(Sde(eta), f"sde_dpmpp_1({eta=})")


def sde_dpmpp_2m(variant: str = "midpoint", *, eta: float = 1.0, final: str = "smooth") -> Exponential:
    """SDE-DPM-Solver++(2M).

    Parameters
    ----------
    variant
        ``"midpoint"`` or ``"taylor"`` (others: "heun").
    eta
        Noise rate, at least 0; 0 is `dpmpp_2m`.
    final
        ``"smooth"``: orders fall towards sigma = 0, if the grid ends there. ``"lower"``: wherever it ends. ``"full"``:
        nowhere but in the step to sigma = 0.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, equation 19.
    """
    name = f"sde_dpmpp_2m({variant!r}, {eta=}{f', {final=}' * (final != 'smooth')})"
    return Exponential(2, Basis("lambda", eta=eta), variant, final, name)


def sde_dpmpp_3m(variant: str = "exact", *, eta: float = 1.0, final: str = "smooth") -> Exponential:
    """SDE-DPM-Solver++(3M): `dpmpp_3m` with noise; options as there and for `sde_dpmpp_2m`.

    Raises
    ------
    UsageError
        If an option is not as described.
    """
    name = f"sde_dpmpp_3m({variant!r}, {eta=}{f', {final=}' * (final != 'smooth')})"
    return Exponential(3, Basis("lambda", eta=eta), variant, final, name)


@dataclass(frozen=True)
class Seeds:
    """Two evaluations per step; the noise of the first half is part of that of the whole, as on one Brownian path."""

    eta: float
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = Basis("lambda", eta=self.eta).on(with_stages(path, times, Basis("lambda"), (0.5,)))
        rows = Recorder(path, self.name, c.knots, c.mix)
        n = (len(c.z) - 1) // 2
        for i in range(n):
            self._step(rows, c, i, n + 1 + i)
        return rows.table()

    def _step(self, rows: Recorder, c: Coordinates, i: int, middle: int) -> None:
        if not np.isfinite(c.z[i : i + 2]).all():
            of_u, of_d, noise = row(c.knots, i, Sde(self.eta))
            rows.row(i + 1, i, of_u, {rows.newest: of_d}, noise=noise)
            return
        of_u, of_d, noise = row(c.knots, i, Sde(self.eta), middle)
        first = rows.newest
        rows.row(middle, i, of_u, {first: of_d}, noise=noise)
        whole, slope = moments(c, i, i + 1, 2)
        slope /= c.z[middle] - c.z[i]
        of_middle, _, rest = row(c.knots, middle, Sde(self.eta), i + 1)
        rows.row(i + 1, i, of_middle, {first: whole - slope - of_middle * of_d, rows.newest: slope}, noise=rest)


def seeds(order: int = 2, *, eta: float = 1.0) -> Seeds | FirstOrder:
    """SEEDS: stochastic exponential integrators without derivatives of the noise.

    Parameters
    ----------
    order
        1, one evaluation per step, or 2, two.
    eta
        Noise rate, at least 0.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Gonzalez et al. 2023, arXiv:2305.14267, algorithms 1 and 2, in data prediction.
    """
    if order not in (1, 2):
        raise UsageError(f"expected order 1 or 2, got {order}")
    rule = Sde(eta)
    return Seeds(eta, f"seeds(2, {eta=})") if order == 2 else FirstOrder(rule, f"seeds(1, {eta=})")
