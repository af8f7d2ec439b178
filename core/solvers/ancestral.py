"""Ancestral sampling: each step goes below its end, to sigma_down, and noise brings it up (k-diffusion's rule).

    sigma_up = eta sigma_n sqrt(1 − sigma_n²/sigma_p²),   sigma_down² = sigma_n² − sigma_up²,   sigma = s/a

The same part of fresh noise as DDIM's eta (Song et al. 2021, arXiv:2010.02502, equation 16), on any path.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.paths import AffinePath
from fewstep.core.solvers.first_order import FirstOrder, row
from fewstep.core.solvers.knots import Knots, knots
from fewstep.core.solvers.noise import Ddim
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.stages import look_up
from fewstep.core.solvers.tableau import Tableau


def euler_ancestral(eta: float = 1.0) -> FirstOrder:
    """Euler ancestral: `ddim` with this eta; 1 is `ddpm`.

    Parameters
    ----------
    eta
        In [0, 1].

    Raises
    ------
    UsageError
        If `eta` is outside [0, 1].

    References
    ----------
    Song et al. 2021, arXiv:2010.02502, equation 16.
    """
    return FirstOrder(Ddim(eta), f"euler_ancestral({eta=})")


@dataclass(frozen=True)
class TwoStage:
    """Two evaluations per step, the second halfway in log sigma to `sigma_down`; then noise."""

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
        k = halfway(path, k, lambda h: h - math.log(Ddim(self.eta)(h, 1.0, 1.0)[0]))
        rows = Recorder(path, self.name, k, np.tile([0.0, 1.0], (len(k.times), 1)))
        for i in range(n):
            self._step(rows, k, i, n + 1 + i)
        return rows.table()

    def _step(self, rows: Recorder, k: Knots, i: int, middle: int) -> None:
        of_u, of_d, noise = row(k, i, Ddim(self.eta))
        base = rows.newest
        if not np.isfinite(k.lam[i : i + 2]).all():
            rows.row(i + 1, i, of_u, {base: of_d}, noise=noise)
            return
        to_u, to_d, _ = row(k, i, Ddim(0.0), middle)
        rows.row(middle, i, to_u, {base: to_d})
        rows.row(i + 1, i, of_u, {rows.newest: of_d}, base=base, noise=noise)


def halfway(path: AffinePath, k: Knots, depth: Callable[[float], float]) -> Knots:
    """A grid, then for each step the knot halfway in lam to `depth(h)`; its end, for a step to or from infinity."""
    found = list(k.times)
    for i, (p, n) in enumerate(itertools.pairwise(k.lam.tolist())):
        inside = math.isfinite(p) and math.isfinite(n)
        found.append(float(path.inverse(p + depth(n - p) / 2)) if inside else k.times[i + 1])
    return look_up(path, found)


def dpmpp_2s_ancestral(eta: float = 1.0) -> TwoStage:
    """DPM-Solver++(2S) to sigma_down, then noise, as k-diffusion's sampler of this name.

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
    Lu et al. 2022, arXiv:2211.01095, algorithm 1; the noise: Song et al. 2021, arXiv:2010.02502, equation 16.
    """
    Ddim(eta)
    return TwoStage(eta, f"dpmpp_2s_ancestral({eta=})")
