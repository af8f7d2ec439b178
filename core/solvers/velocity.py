"""Time itself as the variable: the probability-flow ODE du/dt = G, as flow-matching nets are solved.

G = a' D + s' eps_hat = (s'/s) u + (a' − a s'/s) D          (Lipman et al. 2023, arXiv:2210.02747, equation 11)
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array, Knots


@dataclass(frozen=True)
class InTime:
    """A grid with t as its variable; not usable where s = 0 or its slope is infinite."""

    knots: Knots
    z: Array
    usable: NDArray[np.bool_]
    scale: Array
    mix: Array

    def weight(self, z: Array, n: int) -> Array | float:
        """One: the velocity itself is integrated."""
        return np.ones_like(z)


@dataclass(frozen=True)
class Velocity:
    """The variable t on a path."""

    path: AffinePath
    name: str = "t"

    def on(self, k: Knots) -> InTime:
        """The coordinates of a grid."""
        da, _, ds = (value.numpy() for value in self.path.derivatives(torch.from_numpy(k.times.copy())))
        usable = (k.s > 0) & np.isfinite(da) & np.isfinite(ds)
        mix = np.tile([0.0, 1.0], (len(k.s), 1))
        rate = ds[usable] / k.s[usable]
        mix[usable] = np.stack([rate, da[usable] - k.a[usable] * rate], axis=1)
        return InTime(k, k.times, usable, np.ones_like(k.s), mix)
