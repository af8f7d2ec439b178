"""What a tableau does to Gaussian data, in closed form: errors and orders of convergence without a net.

For x0 ~ N(mean, variance) the denoiser is affine, D = mean + a v/(a² v + s²) (u − a mean), so every state is an affine
function of the first state and of the noises; the probability-flow ODE maps u to a mean + (u − a_T mean) r/r_T with
r² = a² v + s² (Song et al. 2021, arXiv:2011.13456, appendix D.4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Solver


@dataclass(frozen=True)
class Outcome:
    """The last state of a tableau: slope·u_first + offset + independent noise of this variance."""

    slope: float
    offset: float
    variance: float


def outcome(table: Tableau, *, mean: float, variance: float) -> Outcome:
    """Run a tableau on the denoiser of N(mean, variance), exactly.

    Parameters
    ----------
    table
        Any tableau.
    mean, variance
        Of each component of the data.

    Returns
    -------
    Outcome
    """
    state = np.zeros(table.rows + 2)
    state[0] = 1.0
    past: list[Array] = []
    for i in range(table.rows):
        gain = table.a[i] * variance / (table.a[i] ** 2 * variance + table.s[i] ** 2)
        denoised = gain * state
        denoised[1] += mean * (1 - gain * table.a[i])
        of_state, of_denoised, of_last = table.mix[i]
        past.insert(0, of_state * state + of_denoised * denoised + of_last * (past[0] if past else 0.0))
        state = table.state[i] * state
        for weight, element in zip(table.history[i], past, strict=False):
            state = state + weight * element
        state[2 + i] += table.noise[i]
    return Outcome(float(state[0]), float(state[1]), float(np.square(state[2:]).sum()))


def error(table: Tableau, *, mean: float, variance: float) -> float:
    """How far a tableau's last state is from the truth, in standard deviations of the truth.

    Without noise, the error of the map from first to last state; with noise, that of the mean and variance, for a
    first state of the right law.

    Parameters
    ----------
    table
        Any tableau.
    mean, variance
        Of each component of the data.

    Returns
    -------
    float
    """
    got = outcome(table, mean=mean, variance=variance)
    a, s = table.a[[0, -1]], table.s[[0, -1]]
    first, last = np.sqrt(a**2 * variance + s**2)
    if not table.noise.any():
        slope = last / first
        return math.hypot(got.slope - slope, got.offset - mean * (a[1] - slope * a[0])) / last
    mean_error = got.slope * a[0] * mean + got.offset - a[1] * mean
    return math.hypot(mean_error, (got.slope * first) ** 2 + got.variance - last**2) / last


def order(
    solver: Solver,
    path: AffinePath,
    *,
    steps: Sequence[int] = (48, 96),
    mean: float = 0.7,
    variance: float = 2.0,
    lam: tuple[float, float] = (-2.0, 2.0),
    grading: float = 1.0,
) -> float:
    """Measured order of convergence on Gaussian data: −d log(error) / d log(steps).

    Parameters
    ----------
    solver
        Any solver that makes a `Tableau`.
    path
        Any path.
    steps
        Two numbers of steps.
    mean, variance
        Of the data.
    lam
        First and last log(a/s), as far as the path reaches.
    grading
        The first steps shrink as steps^(−grading), so that the low order of a multistep solver's start does not show.

    Returns
    -------
    float

    Raises
    ------
    UsageError
        If `steps` are not two increasing numbers.
    """
    if len(steps) != 2 or not 0 < steps[0] < steps[1]:
        raise UsageError(f"expected two increasing numbers of steps, got {list(steps)}")
    first, last = max(lam[0], float(path.lam(path.t_max))), min(lam[1], float(path.lam(path.t_min)))
    errors = []
    for n in steps:
        part = torch.linspace(0, 1, n + 1, dtype=torch.float64) ** grading
        times = path.inverse(first + (last - first) * part).clamp(max=path.t_max)
        errors.append(error(solver.tableau(path, times), mean=mean, variance=variance))
    return math.log(errors[0] / errors[1]) / math.log(steps[1] / steps[0])
