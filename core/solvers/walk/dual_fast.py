"""DualFast: push each noise prediction away from the first one, which was made where predicting noise is easiest.

    eps <- eps + c (eps − eps_first),     c falls linearly in the step from `strength` to 0

Yu et al. 2025, arXiv:2506.13058. It mends a net's approximation error only: with an exact net it does harm.
"""

from dataclasses import dataclass

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.walk.ground import Ground, Steps
from fewstep.core.solvers.walk.rows import follow
from fewstep.core.types import Solver


@dataclass(frozen=True)
class DualFast:
    """As many evaluations as the solver makes, and one more state of memory."""

    solver: Solver
    strength: float

    def walk(self, ground: Ground) -> Steps:
        """Yield the states of the solver."""
        table: Tableau = self.solver.tableau(ground.path, ground.times)
        first: list[Tensor] = []

        def ask(x: Tensor, i: int) -> Tensor:
            denoised = ground.ask(x, float(table.times[i]), int(table.step[i]))
            a, b, s = float(table.a[i]), float(table.b[i]), float(table.s[i])
            if s == 0 or a == 0:
                return denoised
            eps = ((x if ground.y is None else x - b * ground.y) - a * denoised) / s
            first.append(eps) if not first else None
            c = self.strength * (1 - float(table.step[i]) / table.steps)
            return denoised - (s / a) * c * (eps - first[0]) if c else denoised

        yield from follow(ground, table, ask)


def dual_fast(solver: Solver, *, strength: float) -> DualFast:
    """Any solver, with noise predictions corrected by the first.

    Parameters
    ----------
    solver
        Makes a tableau.
    strength
        c of the first step; 0 is the solver itself. No value is known to serve every net: search it.

    Raises
    ------
    UsageError
        If `strength` is negative.

    References
    ----------
    Yu et al. 2025, arXiv:2506.13058.
    """
    if not strength >= 0:
        raise UsageError(f"expected strength >= 0, got {strength}")
    return DualFast(solver, strength)
