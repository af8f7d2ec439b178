"""Calibration: sigma_data, scale, power and order of the default solver, by the simplex method in their logarithms.

(Nelder & Mead 1965, Computer Journal 7, 308.)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from fewstep.core.errors import UsageError
from fewstep.core.solvers.default import Default
from fewstep.core.solvers.tune.trial import Trial


@dataclass(frozen=True)
class Grid:
    """See `grid`."""

    orders: tuple[int, ...]
    runs: int

    def __call__(self, trial: Trial) -> None:
        """Coarse first, then from the best two of each order."""
        begin = trial.family
        for order in self.orders:
            loss = _loss(trial, order)
            coarse = [
                np.log([begin.sigma_data, begin.scale * factor, power])
                for factor in (0.6, 1.0, 1.6)
                for power in (1.2, 1.6, 2.2)
            ]
            coarse.sort(key=loss)
            for point in coarse[:2]:
                simplex = np.vstack([point, point + 0.25 * np.eye(3)])
                options = {"initial_simplex": simplex, "maxfev": self.runs, "xatol": 1e-3, "fatol": 0}
                minimize(loss, point, method="Nelder-Mead", options=options)


def grid(*, orders: Sequence[int] = (2, 3), runs: int = 60) -> Grid:
    """Calibrate the default solver.

    Parameters
    ----------
    orders
        Predictors to try.
    runs
        Of the simplex method from each of two starts, per order.

    Raises
    ------
    UsageError
        If there is no order, or one is below 1.
    """
    if not orders or min(orders) < 1:
        raise UsageError(f"expected orders of at least 1, got {list(orders)}")
    return Grid(tuple(orders), runs)


def _loss(trial: Trial, order: int) -> Callable[[np.ndarray], float]:
    def loss(point: np.ndarray) -> float:
        sigma_data, scale, power = (math.exp(min(max(value, -12.0), 12.0)) for value in point)
        if not 0.3 < power < 8:
            return float("inf")
        family = Default(sigma_data, scale, power, order)
        value = trial.loss(family.tableau(trial.path, trial.steps))
        if value <= min(trial.history):
            trial.family = family
        return value

    return loss
