"""MDT-dist: a student of average velocities, taught without trajectories (Zhou et al. 2025, arXiv:2509.04406).

On the rectified flow x_t = (1 − t) x0 + t z let phi(x, t) be the average velocity from t to 0, so that x0 = x − t phi.
Along a trajectory x0 stays, hence with the marginal velocity u (the MeanFlow identity, arXiv:2505.13447, eq. 6)

    phi = u − t dphi/dt,     dphi/dt = u · grad phi + ∂phi/∂t

Velocity matching regresses phi on v − t dphi/dt, v the teacher's; velocity distillation moves the student's own samples
along the difference of marginal velocities phi + t dphi/dt − v. The released code divides dphi/dt by its norm over the
whole tensor (`l2`), which switches the correction off in high dimension; the paper's algorithm 1 does not, nor do we.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    cap: float | None = None,
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
    cap
        Largest norm of u − v over that of v, per item; what is longer is shortened. None: any.

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
        apart = u - v
        if cap is not None:
            apart = apart * (cap * _norm(v) / _norm(apart).clamp(min=1e-12)).clamp(max=1)
        goal = leap - apart
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
    logit_normal
        Mean and deviation of the normal law whose sigmoid is the time, spread over [2 dt, 1]; None: even times.
    matching_guidance, distillation_guidance
        Guidance weight of the teacher in each loss; batches must have ``uncond``. None: the teacher as it is handed in.
        The paper's and TRELLIS' strengths are these less 1.
    distillation_from
        Iteration from which velocity distillation takes part: the student's velocity is that of its own law only where
        velocity matching has brought it.
    cap
        See `velocity_distillation`.

    Raises
    ------
    UsageError
        If the path is another one, or guidance is asked for and batches have no ``uncond``.
    """

    matching: float = 1.0
    distillation: float = 1.0
    dt: float = 1e-2
    normalise: Norm | None = None
    distance: distances.Distance = distances.mse
    logit_normal: tuple[float, float] | None = None
    matching_guidance: float | None = None
    distillation_guidance: float | None = None
    distillation_from: int = 0
    cap: float | None = None
    pairs: ClassVar[bool] = False
    solver: ClassVar[str] = "consistency"  # phi leads to the end of its trajectory; new noise leads back

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        if not path.key.startswith("rectified_flow") or items.y is not None:
            raise UsageError(f"MDT-dist is defined on the rectified flow without y, got {path.key}")
        phi = velocity_of(nets.student)
        t, noise = self._times(items, generator), items.noise(generator)
        options: dict[str, Any] = {
            "differentiate": lambda phi, x, t, v: finite_difference(phi, x, t, v, dt=self.dt),
            "normalise": self.normalise,
            "distance": items.measured(self.distance),
        }
        x, teacher = path.sample(items.x0, noise, t), _guided(nets, self.matching_guidance, t)
        total = self.matching * velocity_matching(phi, teacher, x, t, **options)
        if self.distillation and items.iteration >= self.distillation_from:
            z, teacher = items.noise(generator), _guided(nets, self.distillation_guidance, t)
            options["cap"] = self.cap
            total = total + self.distillation * velocity_distillation(phi, teacher, z, noise, t, **options)
        return total

    def _times(self, items: Items, generator: torch.Generator) -> Tensor:
        if self.logit_normal is None:
            return items.uniform(generator, 2 * self.dt, 1.0)
        mean, std = self.logit_normal
        normal = torch.special.ndtri(items.uniform(generator, 1e-6, 1 - 1e-6))
        return 2 * self.dt + (1 - 2 * self.dt) * torch.sigmoid(mean + std * normal)


def _guided(nets: Nets, w: float | None, t: Tensor) -> Velocity:
    if w is None:
        return velocity_of(nets.teacher)
    if nets.guided is None:
        raise UsageError("guidance of the teacher is asked for: batches need 'uncond', what the net is told without")
    return velocity_of(nets.guided(torch.full_like(t, w)))


def paper(**changes: Any) -> MarginalData:
    """The options of arXiv:2509.04406 (section 5): even times, strengths 40 and 100, no normalisation.

    Parameters
    ----------
    changes
        Options of `MarginalData` that differ.

    Returns
    -------
    MarginalData
    """
    return replace(MarginalData(matching_guidance=41.0, distillation_guidance=101.0), **changes)


def release(**changes: Any) -> MarginalData:
    """The options of the released configs, where they differ from the paper: late times, and `l2`.

    Parameters
    ----------
    changes
        Options of `MarginalData` that differ.

    Returns
    -------
    MarginalData
    """
    return replace(paper(logit_normal=(1.0, 1.0), normalise=l2), **changes)
