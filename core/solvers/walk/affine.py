"""Steps that know nothing of the past: x_n = of_x x + of_d D + of_y y + noise z, the predictors of a walk.

Any tableau without memory is one; so is the Euler-Maruyama step in x of SGMSE, which no tableau is, because on a path
with y it does not commute with u = x − b y.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.walk.ground import Ground
from fewstep.core.types import Solver


class Predictor(Protocol):
    """A first-order step, as numbers."""

    def affine(self, path: AffinePath, times: Any) -> Array:
        """Coefficients of x, D, y and the noise for each step, [n, 4]."""


@dataclass(frozen=True)
class Memoryless:
    """A solver seen as a predictor."""

    solver: Solver

    def affine(self, path: AffinePath, times: Any) -> Array:
        """Coefficients of x, D, y and the noise for each step, [n, 4].

        Raises
        ------
        UsageError
            If the solver has stages or looks back.
        """
        table = self.solver.tableau(path, times)
        if table.rows != table.steps or table.history[:, 1:].any() or table.mix[:, 2].any():
            raise UsageError(f"expected a predictor of one evaluation per step without memory, got {table.solver}")
        newest = table.history[:, 0]
        of_u = table.state + newest * table.mix[:, 0]
        of_y = table.b[1:] - of_u * table.b[:-1]
        return np.stack([of_u, newest * table.mix[:, 1], of_y, table.noise], axis=1)


def as_predictor(step: Solver | Predictor) -> Predictor:
    """A solver, or what is a predictor already, as one."""
    return step if hasattr(step, "affine") else Memoryless(step)  # type: ignore[return-value]


def advance(ground: Ground, x: Tensor, denoised: Tensor, row: Array) -> Tensor:
    """The next state by one row of `affine`; noise is drawn only where it counts."""
    of_x, of_d, of_y, noise = row.tolist()
    moved = of_x * x + of_d * denoised.to(x.dtype)
    moved = moved if ground.y is None or of_y == 0 else moved + of_y * ground.y
    return moved + noise * ground.normal() if noise else moved
