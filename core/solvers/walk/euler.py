"""Euler-Maruyama in x, the "reverse diffusion" of score-based speech enhancement.

With f = a'/a, g² = 2 s s' − 2 f s², score = (a D − u)/s², and a step dt > 0 towards the data,

    x_n = x − dt [f u + b' y − (1 + eta²)/2 g² score] + eta g sqrt(dt) z          u = x − b y

Song et al. 2021, arXiv:2011.13456, eq. 6 (eta = 1) and 13 (eta = 0); Richter et al. 2023, arXiv:2208.05830, eq. 13.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.walk.affine import advance
from fewstep.core.solvers.walk.ground import Ground, Steps
from fewstep.core.types import StepInfo


@dataclass(frozen=True)
class EulerMaruyamaX:
    """One evaluation per step; serves as a walk and as a predictor."""

    eta: float = 1.0
    last_noise: bool = False

    def affine(self, path: AffinePath, times: Any) -> Array:
        """Coefficients of x, D, y and the noise for each step, [n, 4].

        Raises
        ------
        UsageError
            If the slopes or the score are infinite at a time of the grid other than the last.
        """
        k = knots(path, times)
        da, db, ds = (v.numpy() for v in path.derivatives(torch.tensor(k.times[:-1], dtype=torch.float64)))
        a, b, s, dt = k.a[:-1], k.b[:-1], k.s[:-1], -np.diff(k.times)
        with np.errstate(divide="ignore", invalid="ignore"):
            drift = da / a
            rate = np.maximum(2 * s * ds - 2 * drift * s**2, 0.0)
            pull = dt * (1 + self.eta**2) / 2 * rate / s**2
            noise = self.eta * np.sqrt(rate * dt)
        of_u = 1 - dt * drift - pull
        rows = np.stack([of_u, pull * a, b - of_u * b - dt * db, noise], axis=1)
        if not np.isfinite(rows).all():
            raise UsageError(
                f"Euler-Maruyama in x needs finite slopes and s > 0 at every time but the last on {path.key}"
            )
        if not self.last_noise:
            rows[-1, 3] = 0.0
        return rows

    def walk(self, ground: Ground) -> Steps:
        """Yield each new state."""
        x, times, rows = ground.x, ground.times.tolist(), self.affine(ground.path, ground.times)
        for i, row in enumerate(rows):
            denoised = ground.ask(x, times[i], i)
            x = advance(ground, x, denoised, row)
            replacement = yield StepInfo(i, i, times[i], times[i + 1], x, denoised)
            x = x if replacement is None else replacement


def euler_maruyama_x(eta: float = 1.0, *, last_noise: bool = False) -> EulerMaruyamaX:
    """Euler-Maruyama in x.

    Parameters
    ----------
    eta
        1 is the reverse SDE, 0 the probability-flow ODE.
    last_noise
        Draw noise in the last step as well; SGMSE does not.

    Raises
    ------
    UsageError
        If `eta` is negative.

    References
    ----------
    Richter et al. 2023, arXiv:2208.05830; Song et al. 2021, arXiv:2011.13456, appendix E.
    """
    if not eta >= 0:
        raise UsageError(f"expected eta >= 0, got {eta}")
    return EulerMaruyamaX(eta, last_noise)
