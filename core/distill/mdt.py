"""MDT-dist: a student of average velocities, taught without trajectories (Zhou et al. 2025, arXiv:2509.04406).

On the rectified flow x_t = (1 − t) x0 + t z let phi(x, t) be the average velocity from t to 0, so that x0 = x − t phi.
Along a trajectory x0 stays, hence with the marginal velocity u (the MeanFlow identity, arXiv:2505.13447, eq. 6)

    phi = u − t dphi/dt,     dphi/dt = u · grad phi + ∂phi/∂t

Velocity matching regresses phi on v − t dphi/dt, v the teacher's; velocity distillation moves the student's own samples
along the difference of marginal velocities phi + t dphi/dt − v. The released code divides dphi/dt by its norm over the
whole tensor (`l2`), which switches the correction off in high dimension; the paper's algorithm 1 does not, nor do we.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fewstep.core.distill import distance as distances
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise

Velocity = Callable[[Tensor, Tensor], Tensor]
"""``velocity(x, t)`` with t [batch]."""
Norm = Callable[[Tensor], Tensor]


def finite_difference(phi: Velocity, x: Tensor, t: Tensor, v: Tensor, *, dt: float = 1e-2) -> Tensor:
    """dphi/dt along v, backwards in time: (phi(x, t) − phi(x − v dt, t − dt)) / dt, without gradient.

    Parameters
    ----------
    phi
        Average velocity.
    x, v
        State and velocity, [batch, ...].
    t
        [batch], at least `dt`.
    dt
        Step; the error is of first order in it.

    Returns
    -------
    Tensor
        Shaped like `x`.
    """
    with torch.no_grad():
        return (phi(x, t) - phi(x - dt * v, t - dt)) / dt


def derivative(phi: Velocity, x: Tensor, t: Tensor, v: Tensor) -> Tensor:
    """dphi/dt along v, exactly, by forward-mode differentiation; `phi` must support it. Without gradient.

    Parameters
    ----------
    phi, x, t, v
        As in `finite_difference`.

    Returns
    -------
    Tensor
        Shaped like `x`.
    """
    with torch.no_grad():
        return torch.func.jvp(phi, (x, t), (v, torch.ones_like(t)))[1].detach()


def l2(change: Tensor) -> Tensor:
    """The released code's normalisation, change / (|change| + 0.1) over the item; for comparison only."""
    return change / (_norm(change) + 0.1)


def rms(change: Tensor) -> Tensor:
    """The same with the root mean square, so that its strength does not depend on the dimension."""
    return change / (_norm(change) / change[0].numel() ** 0.5 + 0.1)


def velocity_matching(
    phi: Velocity,
    teacher: Velocity,
    x: Tensor,
    t: Tensor,
    *,
    differentiate: Callable[..., Tensor] = finite_difference,
    normalise: Norm | None = None,
    distance: distances.Distance = distances.mse,
) -> Tensor:
    """Distance of phi to v − t dphi/dt, [batch] (algorithm 1).

    Parameters
    ----------
    phi
        The student's average velocity.
    teacher
        The teacher's velocity, guided or not.
    x
        State at `t`, [batch, ...].
    t
        [batch].
    differentiate
        `finite_difference` or `derivative`.
    normalise
        None, `l2` or `rms`; anything but None moves the fixed point away from the average velocity.
    distance
        See `fewstep.core.distill.distance`.

    Returns
    -------
    Tensor
        [batch].
    """
    with torch.no_grad():
        v = teacher(x, t)
        change = differentiate(phi, x, t, v)
        goal = v - _like(t, x) * (change if normalise is None else normalise(change))
    return distance(phi(x, t), goal)


def velocity_distillation(
    phi: Velocity,
    teacher: Velocity,
    z: Tensor,
    noise: Tensor,
    t: Tensor,
    *,
    differentiate: Callable[..., Tensor] = finite_difference,
    normalise: Norm | None = None,
    distance: distances.Distance = distances.mse,
) -> Tensor:
    """Move the samples z − phi(z, 1) along the teacher's minus the student's velocity, [batch].

    Parameters
    ----------
    phi, teacher, differentiate, normalise, distance
        As in `velocity_matching`.
    z, noise
        Prior draw that becomes a sample, and the noise that is added to that sample, [batch, ...].
    t
        Where the velocities are compared, [batch].

    Returns
    -------
    Tensor
        [batch]. Its gradient is that of 2 <u − v, phi(z, 1)> / size, the sign of eq. 17 included.
    """
    leap = phi(z, torch.ones_like(t))
    with torch.no_grad():
        x = (1 - _like(t, z)) * (z - leap) + _like(t, z) * noise
        v = teacher(x, t)
        change = differentiate(phi, x, t, v)
        u = phi(x, t) + _like(t, x) * (change if normalise is None else normalise(change))
        goal = leap - (u - v)
    return distance(leap, goal)


def _like(t: Tensor, x: Tensor) -> Tensor:
    return t.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def _norm(change: Tensor) -> Tensor:
    return change.flatten(1).norm(dim=1).reshape(-1, *[1] * (change.ndim - 1))


def velocity_of(denoise: Denoise) -> Velocity:
    """(x − denoise(x, t)) / t on the rectified flow: marginal velocity of a teacher, average velocity of a student."""
    return lambda x, t: (x - denoise(x, t)) / _like(t, x)


@dataclass(frozen=True)
class MarginalData:
    """Velocity matching and velocity distillation together, on the rectified flow only.

    Parameters
    ----------
    matching, distillation
        Weights of the two losses.
    dt
        Step of the finite difference, and the smallest time.
    normalise
        None, `l2` or `rms`.
    distance
        See `fewstep.core.distill.distance`.

    Raises
    ------
    UsageError
        If the path is another one.
    """

    matching: float = 1.0
    distillation: float = 1.0
    dt: float = 1e-2
    normalise: Norm | None = None
    distance: distances.Distance = distances.mse
    pairs: ClassVar[bool] = False

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        if not path.key.startswith("rectified_flow") or items.y is not None:
            raise UsageError(f"MDT-dist is defined on the rectified flow without y, got {path.key}")
        phi, teacher = velocity_of(nets.student), velocity_of(nets.teacher)
        t, noise = items.uniform(generator, 2 * self.dt, 1.0), items.noise(generator)
        options: dict[str, Any] = {
            "differentiate": lambda phi, x, t, v: finite_difference(phi, x, t, v, dt=self.dt),
            "normalise": self.normalise,
            "distance": items.measured(self.distance),
        }
        x = path.sample(items.x0, noise, t)
        total = self.matching * velocity_matching(phi, teacher, x, t, **options)
        if self.distillation:
            z = items.noise(generator)
            total = total + self.distillation * velocity_distillation(phi, teacher, z, noise, t, **options)
        return total
