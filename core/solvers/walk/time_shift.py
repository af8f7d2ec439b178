"""Time-shift sampling: tell the net the time whose noise the state has, not the time where it should be.

After a step to t_n, the time within a window around t_n whose marginal variance a² v + s² is nearest to that of the
state; the step itself keeps t_n (Li et al. 2024, arXiv:2305.15583, algorithm 3, where v = 0).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.walk.ground import Ground, Steps
from fewstep.core.solvers.walk.rows import follow
from fewstep.core.types import Solver

_CANDIDATES = 65


@dataclass(frozen=True)
class TimeShift:
    """As many evaluations as the solver makes."""

    solver: Solver
    window: float
    cutoff: float
    variance: float

    def walk(self, ground: Ground) -> Steps:
        """Yield the states of the solver."""
        table: Tableau = self.solver.tableau(ground.path, ground.times)

        def ask(x: Tensor, i: int) -> Tensor:
            t = float(table.times[i])
            told = self._told(ground, x, t) if i and t > self.cutoff else None
            return ground.ask(x, t, int(table.step[i]), told=told)

        yield from follow(ground, table, ask)

    def _told(self, ground: Ground, x: Tensor, t: float) -> Tensor:
        """The time that each item's net is told, [batch]."""
        spread = torch.linspace(-0.5, 0.5, _CANDIDATES, dtype=torch.float64, device=x.device)
        times = (t + self.window * spread).clamp(0.0, ground.path.t_max)
        a, b, s = ground.path.coefficients(times)
        parts = x.reshape(len(x), -1)[:, :, None]
        u = parts if ground.y is None else parts - b.to(x.device) * ground.y.reshape(len(x), -1)[:, :, None]
        found = u.to(torch.promote_types(x.dtype, torch.float32)).var(1)
        return times[(found - (a * a * self.variance + s * s)).abs().argmin(1)]


def time_shift(solver: Solver, *, window: float, cutoff: float, variance: float = 0.0) -> TimeShift:
    """Any solver, with the net told shifted times.

    Parameters
    ----------
    solver
        Makes a tableau.
    window
        Width of the times that are looked through around each time of the grid.
    cutoff
        Below this time nothing is shifted: there the data's own variance rules.
    variance
        Of the data's components, so that exact nets need no shift; 0 as published.

    Raises
    ------
    UsageError
        If a number is negative.

    References
    ----------
    Li et al. 2024, arXiv:2305.15583, algorithm 3.
    """
    if not (window >= 0 and cutoff >= 0 and variance >= 0):
        raise UsageError(f"expected window, cutoff and variance >= 0, got {window}, {cutoff}, {variance}")
    return TimeShift(solver, window, cutoff, variance)
