"""Multistep sampling of consistency models: jump to the data, put noise back, jump again.

    u_n = a_n D + sqrt(s_n² − (a_n sigma_min)²) eps,     the last without noise

D being the model's answer at sigma_min, where it already carries that much noise (Song et al. 2023, arXiv:2303.01469,
algorithm 1). One step is the model itself; sigma_min = 0 is how latent consistency models are sampled (Luo et al. 2023,
arXiv:2310.04378).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class Consistency:
    """One evaluation per step; nothing of the state is kept."""

    sigma_min: float

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        k = knots(path, times)
        n = len(k.times) - 1
        noise = np.sqrt(np.maximum(k.s[1:] ** 2 - (k.a[1:] * self.sigma_min) ** 2, 0.0))
        noise[-1] = 0.0
        mix = np.tile([0.0, 1.0], (n, 1))
        name = f"consistency(sigma_min={self.sigma_min})"
        history = np.append(k.a[1:-1], 1.0)[:, None]
        return Tableau(path.key, name, k.times, k.a, k.b, k.s, np.zeros(n), history, mix, noise, np.arange(float(n)))


def consistency(sigma_min: float = 0.0) -> Consistency:
    """Consistency-model sampling over a grid whose last time is where the model's answer lies.

    Parameters
    ----------
    sigma_min
        s/a of the model's answers, 0.002 in the paper.

    Raises
    ------
    UsageError
        If it is negative.

    References
    ----------
    Song et al. 2023, arXiv:2303.01469, algorithm 1.
    """
    if not sigma_min >= 0:
        raise UsageError(f"expected sigma_min >= 0, got {sigma_min}")
    return Consistency(sigma_min)
