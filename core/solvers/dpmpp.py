"""DPM-Solver++ of second order, multistep (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.multistep import Multistep, multistep
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class Dpmpp2M:
    """The first-order step with D extrapolated to the middle of the step: D + (D − D_before) h / (2 h_before)."""

    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        first = multistep(1).tableau(path, times)
        lam = path.lam(torch.from_numpy(first.times.copy())).numpy()
        history = np.concatenate([first.history, np.zeros_like(first.history)], axis=1)
        for i in range(1, first.rows):
            if np.isfinite(lam[i - 1 : i + 2]).all():
                lean = (lam[i + 1] - lam[i]) / (lam[i] - lam[i - 1]) / 2
                history[i] *= 1 + lean
                history[i, 1] = -first.history[i, 0] * lean
        return replace(first, solver=self.name, history=history)


def dpmpp_2m(variant: str = "midpoint") -> Dpmpp2M | Multistep:
    """DPM-Solver++(2M).

    Parameters
    ----------
    variant
        ``"midpoint"``, the published algorithm 2 and what other packages run by that name; or ``"taylor"``, which
        integrates the extrapolation exactly and is the MR Sampler's second-order ODE solver on mean-reverting paths
        (Li et al. 2025, arXiv:2502.07856).

    Raises
    ------
    UsageError
        If the variant is unknown.
    """
    if variant == "midpoint":
        return Dpmpp2M("dpmpp_2m()")
    if variant == "taylor":
        return replace(multistep(2), name="dpmpp_2m('taylor')")
    raise UsageError(f"expected variant 'midpoint' or 'taylor', got {variant!r}")
