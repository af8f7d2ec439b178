"""The analytic start: jump from the prior to t* along the ODE of the data's Gaussian, at no call of the net.

For x0 ~ N(mean, U diag(v) U^T + rest 1) the probability-flow ODE is solved along each axis alone,

    u(t*) = a* mean + sum_k axis_k sqrt((a*² v_k + s*²)/(a² v_k + s²)) <axis_k, u − a mean>

At high noise every score is nearly this one (Wang & Vastola 2024, arXiv:2412.09726, eq. 8).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.walk.ground import Ground, Steps
from fewstep.core.solvers.walk.rows import follow
from fewstep.core.types import Solver


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The data's mean and covariance.

    Parameters
    ----------
    mean
        Shaped like an item.
    variance
        Of each component, shaped like an item (or a number); with `axes`, along the directions that they leave.
    axes
        Orthonormal directions, [rank, numel of an item]; None: the covariance is diagonal.
    along
        Variances along them, [rank].

    Raises
    ------
    UsageError
        If shapes do not agree, or the axes come with a variance that is not one number.
    """

    mean: Tensor
    variance: Tensor | float
    axes: Tensor | None = None
    along: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.axes is None) != (self.along is None):
            raise UsageError("expected axes [rank, numel] and along [rank] together, or neither")
        if self.axes is None or self.along is None:
            return
        if isinstance(self.variance, Tensor) and self.variance.numel() != 1:
            raise UsageError("with axes, the variance of what they leave is one number")
        if self.axes.shape != (len(self.along), self.mean.numel()):
            raise UsageError(f"expected axes [{len(self.along)}, {self.mean.numel()}], got {list(self.axes.shape)}")

    @classmethod
    def of(cls, items: Tensor, *, rank: int | None = None) -> "Gaussian":
        """Estimate from data.

        Parameters
        ----------
        items
            [n, ...] with n >= 2.
        rank
            None: diagonal; else how many principal axes are kept, the rest counting as isotropic.

        Returns
        -------
        Gaussian
        """
        mean = items.mean(0)
        if rank is None:
            return cls(mean, items.var(0))
        centred = (items - mean).reshape(len(items), -1)
        _, values, axes = torch.linalg.svd(centred, full_matrices=False)
        along = values**2 / (len(items) - 1)
        left = max(centred.shape[1] - rank, 1)
        return cls(mean, float(along[rank:].sum()) / left, axes[:rank], along[:rank])

    def jump(self, path: AffinePath, x: Tensor, t: float, t_new: float, y: Tensor | None = None) -> Tensor:
        """Follow the Gaussian's probability flow.

        Parameters
        ----------
        path
            The process.
        x
            State at `t`, [batch, ...].
        t, t_new
            From and to.
        y
            Degraded end, shaped like `x`.

        Returns
        -------
        Tensor
            State at `t_new`.
        """
        (a, b, s), (a_new, b_new, s_new) = ([float(c) for c in path.coefficients(time)] for time in (t, t_new))
        mean = self.mean.to(x)
        away = (x if y is None else x - b * y) - a * mean

        def stretch(variance: Tensor | float) -> Tensor:
            v = torch.as_tensor(variance, dtype=torch.float64)
            return ((a_new**2 * v + s_new**2) / (a**2 * v + s**2)).sqrt().to(x)

        moved = stretch(self.variance) * away
        if self.axes is not None and self.along is not None:
            axes = self.axes.to(x)
            along = away.reshape(len(x), -1) @ axes.mH
            gain = stretch(self.along) - stretch(self.variance)
            moved = moved + ((gain * along) @ axes).reshape(x.shape)
        moved = a_new * mean + moved
        return moved if y is None else moved + b_new * y


@dataclass(frozen=True)
class Teleport:
    """The solver, from `until` on."""

    solver: Solver
    gaussian: Gaussian
    until: float

    def walk(self, ground: Ground) -> Steps:
        """Yield the states of the solver from `until` on, steps being counted from there."""
        times = ground.times[ground.times < self.until]
        if not (len(times) and self.until <= ground.times[0]):
            raise UsageError(f"expected `until` between the last and first time of the grid, got {self.until}")
        x = self.gaussian.jump(ground.path, ground.x, float(ground.times[0]), self.until, ground.y)
        table: Tableau = self.solver.tableau(ground.path, [self.until, *times.tolist()])
        yield from follow(
            ground, table, lambda state, i: ground.ask(state, float(table.times[i]), int(table.step[i])), x
        )


def teleport(solver: Solver, gaussian: Gaussian, until: float) -> Teleport:
    """Any solver, with the first part of the way replaced by the data's Gaussian.

    Parameters
    ----------
    solver
        Makes a tableau; it runs over `until` and the later times of the grid.
    gaussian
        Of the data, see `Gaussian.of`.
    until
        Time to which the jump leads, as s/a = 10 to 20 for data of unit scale.

    Raises
    ------
    UsageError
        If `until` is not positive.

    References
    ----------
    Wang & Vastola 2024, arXiv:2412.09726.
    """
    if not 0 < until < math.inf:
        raise UsageError(f"expected a positive time, got until={until}")
    return Teleport(solver, gaussian, until)
