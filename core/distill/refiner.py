"""FlowTurbo's velocity refiner: velocities change little along a flow, so a tiny net can update them.

    v(x', t') ≈ v + R(x', t', v),   x' = x − v dt, t' = t − dt,   v the teacher's at (x, t)      (arXiv:2409.18128)

(written towards the data at t = 0). With R = 0 it reuses the velocity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fewstep.core import parameterize
from fewstep.core.distill import distance as distances
from fewstep.core.distill.mdt import Velocity
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise

Refiner = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``refiner(x, t, v) -> change of v``."""


def velocity_refinement(
    refiner: Refiner,
    teacher: Velocity,
    x: Tensor,
    t: Tensor,
    dt: Tensor,
    *,
    distance: distances.Distance = distances.mse,
) -> Tensor:
    """Distance of the refined velocity to the teacher's, [batch].

    Parameters
    ----------
    refiner
        The small net.
    teacher
        The teacher's velocity, asked at both points.
    x
        State at `t`, [batch, ...].
    t, dt
        [batch], 0 <= dt <= t; the paper draws dt from (0, 0.12).
    distance
        See `fewstep.core.distill.distance`.

    Returns
    -------
    Tensor
        [batch].
    """
    with torch.no_grad():
        v = teacher(x, t)
        later = x - dt.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)) * v
        goal = teacher(later, t - dt)
    return distance(refined(refiner, v)(later, t - dt), goal)


def refined(refiner: Refiner, v: Tensor) -> Velocity:
    """The velocity near a point whose velocity `v` is known: one call of the small net."""
    return lambda x, t: v + refiner(x, t, v)


def velocity_on(path: AffinePath, denoise: Denoise, y: Tensor | None = None) -> Velocity:
    """dx/dt of the probability-flow ODE in a denoiser's words: a' x0 + b' y + s' eps."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        x0 = denoise(x, t)
        a, b, s = path.broadcast(path.coefficients(t), x)
        eps = (x - a * x0 - (0 if y is None else b * y)) / s
        return parameterize.target("flow", path, x0, eps, t, y)

    return velocity


@dataclass(frozen=True)
class Refinement:
    """Train a small refiner of velocities on the teacher's at two near points.

    Parameters
    ----------
    reach
        Longest way between them, as a share of t_max.
    distance
        See `fewstep.core.distill.distance`.
    """

    reach: float = 0.12
    distance: distances.Distance = distances.mse
    pairs: ClassVar[bool] = False
    refines: ClassVar[bool] = True

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch].

        Raises
        ------
        UsageError
            If there is no refiner to train.
        """
        if nets.refine is None:
            raise UsageError("this recipe trains a `refiner` of velocities: give one (fewstep.core.distill.beside)")
        t = items.uniform(generator, 2 * path.t_min, path.t_max)
        dt = torch.minimum(self.reach * path.t_max * torch.rand(len(t), generator=generator).to(t), t - path.t_min)
        x = path.sample(items.x0, items.noise(generator), t, items.y)
        teacher = velocity_on(path, nets.teacher, items.y)
        return velocity_refinement(nets.refine, teacher, x, t, dt, distance=items.measured(self.distance))


class Refined(nn.Module):
    """A net and its refiner, as one model to be exported; `reading` samples with both.

    Parameters
    ----------
    net
        The teacher's.
    refiner
        ``refiner(x, t, v) -> change of v``.
    """

    def __init__(self, net: nn.Module, refiner: nn.Module):
        super().__init__()
        self.net, self.refiner = net, refiner

    def forward(self, *arguments: Any) -> Tensor:
        """The teacher's net."""
        return self.net(*arguments)

    def reading(self, denoise: Denoise, path: AffinePath, *, full: int = 1, y: Tensor | None = None) -> Denoise:
        """A denoiser that asks the teacher `full` times along a trajectory and refines its velocity after that.

        Parameters
        ----------
        denoise
            The teacher's.
        path
            The process.
        full
            Calls of the teacher before the refiner takes over. A time that is not below the one before it begins a new
            trajectory.
        y
            Degraded end, shaped like the state; None is 0.
        """
        velocity, now = velocity_on(path, denoise, y), _Trajectory()

        def refine(x: Tensor, t: Tensor) -> Tensor:
            if now.v is None or not bool((t < now.t).all()):
                now.calls = 0
            if now.calls < full:
                now.v = velocity(x, t)
            else:
                now.v = now.v + self.refiner(x, t.expand(len(x)), now.v)
            now.calls, now.t = now.calls + 1, t
            return parameterize.to_x0("flow", path, now.v, x, t, y)

        return refine


class _Trajectory:
    """Where a refined denoiser is on its way."""

    v: Any = None
    t: Any = None
    calls: int = 0
