"""FlowTurbo's velocity refiner: velocities change little along a flow, so a tiny net can update them.

    v(x', t') ≈ v + R(x', t', v),   x' = x − v dt, t' = t − dt,   v the teacher's at (x, t)      (arXiv:2409.18128)

(written towards the data at t = 0). With R = 0 it reuses the velocity.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.core.distill import distance as distances
from fewstep.core.distill.mdt import Velocity

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
