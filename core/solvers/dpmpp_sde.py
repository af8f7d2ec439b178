"""DPM-Solver++ (SDE): two stages, the middle one at a noisy state, with k-diffusion's noise.

The noise of the first half and that of the whole step belong to one Brownian motion in sigma = s/a, so the whole is the
half, scaled, plus fresh noise. The step starts from u_p all the same, which the table keeps in G = D + kappa u.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.paths import AffinePath
from fewstep.core.solvers.ancestral import halfway
from fewstep.core.solvers.first_order import row
from fewstep.core.solvers.knots import Knots, knots
from fewstep.core.solvers.noise import Ddim
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class DpmppSde:
    """Two evaluations per step, the middle one at a noisy state of the same Brownian motion in sigma."""

    eta: float
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
        k = halfway(path, k, lambda h: h)
        mix = np.tile([0.0, 1.0], (len(k.times), 1))
        rows = Recorder(path, self.name, k, mix)
        for i in range(n):
            self._step(rows, k, i, n + 1 + i)
        return rows.table()

    def _step(self, rows: Recorder, k: Knots, i: int, middle: int) -> None:
        """End = of_u u + of_d D_middle + noise; u is carried in the first answer's element, G = D + kappa u."""
        rule = Ddim(self.eta)
        of_u, of_d, noise = row(k, i, rule)
        base = rows.newest
        if not np.isfinite(k.lam[i : i + 2]).all():
            rows.row(i + 1, i, of_u, {base: of_d}, noise=noise)
            return
        to_u, to_d, first = row(k, i, rule, middle)
        sigma = np.exp(-k.lam[[i, middle, i + 1]])
        shared = math.sqrt((sigma[0] - sigma[1]) / (sigma[0] - sigma[2])) if first else 0.0
        of_middle = shared * noise / first if first else of_u / to_u
        kappa = (of_u - of_middle * to_u) / (-of_middle * to_d)
        rows.mix[i] = kappa, 1.0
        rows.row(middle, i, to_u - kappa * to_d, {base: to_d}, noise=first)
        rest = noise * math.sqrt(1 - shared**2)
        rows.row(i + 1, i, of_middle, {base: -of_middle * to_d, rows.newest: of_d}, noise=rest)


def dpmpp_sde(eta: float = 1.0) -> DpmppSde:
    """DPM-Solver++ (SDE) as k-diffusion's sampler of this name, with the noise of one Brownian motion in sigma.

    Parameters
    ----------
    eta
        In [0, 1]; 0 is `dpmpp_2s`.

    Raises
    ------
    UsageError
        If `eta` is outside [0, 1].

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, section 5, with two stages; the noise: arXiv:2010.02502, equation 16.
    """
    Ddim(eta)
    return DpmppSde(eta, f"dpmpp_sde({eta=})")
