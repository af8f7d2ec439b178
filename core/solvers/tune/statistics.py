"""DPM-Solver-v3's empirical model statistics, measured along fine trajectories, and the tables that they make.

    l = 1 − E tr(dD/d ubar)/d,    s = <f', f>/(<f, f> + 1e-4 <N, N>),    N = ubar − D,   f = N − l ubar,   f' = df/d lam

(Zheng et al. 2023, arXiv:2310.13268, section 3.1, with one number for all components.) The trace is Hutchinson's
estimate by differences of the denoiser, so nothing is differentiated through the net.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.solvers.empirical import Statistics, empirical
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.tune.trial import Trial
from fewstep.core.times import theta, uniform_logsnr

_STEP = 0.03
"""Of the differences, in units of sigma."""

_FLOOR = 1e-4
"""Where f is below a hundredth of N, what it grows by is noise and counts little."""


def measure(trial: Trial, *, points: int = 60, seed: int = 0) -> Statistics:
    """The statistics of a trial's denoiser on the trajectories of its starts; costs three calls per point.

    Parameters
    ----------
    trial
        What is sampled.
    points
        Noise levels, at least 4.
    seed
        Of the random directions.

    Raises
    ------
    UsageError
        If there are fewer than four points.
    """
    if points < 4:
        raise UsageError(f"expected at least 4 points, got {points}")
    grid = theta(trial.path, points, scale=trial.family.scale, power=2.0).numpy()
    k, generator = knots(trial.path, grid), rng.generator(seed)
    linear, remainders, sizes = [], [], []
    with torch.no_grad():
        for i, u in enumerate(trial.reference(grid)[:-1]):
            part, f, size = _linear(trial, u, grid[i], (float(k.a[i]), float(k.b[i]), float(k.s[i])), generator)
            linear.append(part)
            remainders.append(f)
            sizes.append(size)
    lam = k.lam[:-1]
    growth = _growth(remainders, sizes, lam)
    return Statistics(tuple(lam.tolist()), tuple(linear), tuple(growth))


@dataclass(frozen=True)
class Measured:
    """See `statistics`."""

    orders: tuple[int, ...]
    points: int
    seed: int

    def __call__(self, trial: Trial) -> None:
        """Every order, with and without corrector, on the best grid so far and on equal steps in lam."""
        found = measure(trial, points=self.points, seed=self.seed)
        even = uniform_logsnr(trial.path, trial.steps).numpy()
        for grid in (trial.best.grid.copy(), even):
            for order in self.orders:
                for corrector in (True, False):
                    trial.loss(empirical(found, order, corrector=corrector).tableau(trial.path, grid))


def statistics(*, orders: Sequence[int] = (1, 2, 3), points: int = 60, seed: int = 0) -> Measured:
    """Solve in the basis of the net's own statistics.

    Parameters
    ----------
    orders
        Predictors to try.
    points
        Noise levels at which the statistics are measured, at three calls each.
    seed
        Of the random directions.

    Raises
    ------
    UsageError
        If there is no order, one is below 1, or there are fewer than four points.
    """
    if not orders or min(orders) < 1 or points < 4:
        raise UsageError(f"expected orders of at least 1 and 4 points or more, got {list(orders)} and {points}")
    return Measured(tuple(orders), points, seed)


def _linear(
    trial: Trial, u: Tensor, t: float, at: tuple[float, float, float], generator: torch.Generator
) -> tuple[float, Tensor, float]:
    """l, f and |N|² at one time."""
    a, b, s = at
    sign = torch.randint(2, u.shape, generator=generator).to(u.real.dtype).to(u.device) * 2 - 1
    step = _STEP * s / a
    shift = 0 if trial.y is None else b * trial.y
    time = torch.as_tensor(t, dtype=torch.float64 if u.dtype in (torch.float64, torch.complex128) else torch.float32)
    up, here, down = (trial.denoise(u + a * way * step * sign + shift, time) for way in (1, 0, -1))
    trace = float(((up - down) * sign).real.double().mean()) / (2 * step)
    part = 1 - trace
    return part, (1 - part) * u / a - here, float((u / a - here).abs().square().sum())


def _growth(remainders: list[Tensor], sizes: list[float], lam: np.ndarray) -> list[float]:
    """s at all times, by differences of second order; at either end that of the neighbour."""
    found = []
    for i in range(1, len(lam) - 1):
        before, after = lam[i] - lam[i - 1], lam[i + 1] - lam[i]
        rise, rose = (remainders[i + 1] - remainders[i]) / after, (remainders[i] - remainders[i - 1]) / before
        slope = (before * rise + after * rose) / (before + after)
        square = float(remainders[i].abs().square().sum()) + _FLOOR * sizes[i]
        found.append(float((slope * remainders[i].conj()).real.sum()) / square if square > 0 else 0.0)
    return [found[0], *found, found[-1]]
