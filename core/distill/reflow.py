"""Straighten, then leap: rectified flow's second round and distillation of pairs.

pairs    (x_T, x_0) = (prior draw, the teacher's end point from it)
reflow   train the same regression as ever on x_t = a x_0 + b y + s eps of a pair (Liu et al. 2022,
         arXiv:2209.03003, eq. 1): its trajectories cross less, so fewer steps follow them
distil   student(x_T, T) ~ x_0 (InstaFlow, Liu et al. 2023, arXiv:2309.06380)
ends     student(x_t, t) ~ x_0 anywhere on the way from x_T to x_0: states of trajectories have the path's own law, so
         a step that follows fresh noise is taught as well
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fewstep.core import rng
from fewstep.core.distill import distance as distances
from fewstep.core.distill.recipe import Items, Nets, Recipe
from fewstep.core.paths import AffinePath
from fewstep.core.sample import sample
from fewstep.core.types import Denoise, Solver


def pairs(
    teacher: Denoise,
    path: AffinePath,
    *,
    shape: tuple[int, ...],
    times: Tensor,
    solver: Solver,
    seeds: list[int],
    y: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    device: Any = None,
) -> tuple[Tensor, Tensor]:
    """Noise and where the teacher carries it.

    Parameters
    ----------
    teacher
        ``(x, t) -> x0_hat``.
    path
        The process.
    shape
        [batch, ...].
    times, solver
        How the teacher samples; a deterministic solver.
    seeds
        One per item.
    y
        Degraded end, [batch, ...]; None is 0.
    dtype, device
        Of the result.

    Returns
    -------
    eps, x0 : Tensor
        [batch, ...]; the state at the prior is ``path.prior(eps, y)``.
    """
    streams = rng.streams([rng.generator(seed) for seed in seeds], shape[0])
    eps = rng.normal(shape, streams, dtype, torch.device(device or "cpu"))
    start = path.prior(eps, y, t=float(times[0]))
    out = sample(teacher, path, times=times, solver=solver, x=start, y=y)
    return eps, out.x


def pair_distance(
    student: Denoise,
    path: AffinePath,
    eps: Tensor,
    x0: Tensor,
    *,
    y: Tensor | None = None,
    t: Tensor | None = None,
    distance: distances.Distance = distances.mse,
) -> Tensor:
    """How far the student's answer at the prior is from the teacher's end point, [batch].

    Parameters
    ----------
    student
        ``(x, t) -> x0_hat``.
    path
        The process.
    eps, x0
        A pair, [batch, ...].
    y
        Degraded end, shaped like `x0`; None is 0.
    t
        [batch]: `eps` is the state at this time on the way to `x0`; None: it is the noise at the prior.
    distance
        Any, a perceptual one for pictures.

    Returns
    -------
    Tensor
        [batch].
    """
    if t is not None:
        return distance(student(eps, t), x0)
    last = torch.full((len(x0),), path.t_max, device=x0.device)
    return distance(student(path.prior(eps, y), last), x0)


def reflow(
    student: Denoise,
    path: AffinePath,
    eps: Tensor,
    x0: Tensor,
    t: Tensor,
    *,
    y: Tensor | None = None,
    limit: float | None = None,
    distance: distances.Distance = distances.mse,
) -> Tensor:
    """Velocity error on the straight way of a pair, [batch]; in terms of x0 it is |a' − a s'/s| |x0_hat − x0|.

    Parameters
    ----------
    student
        ``(x, t) -> x0_hat``.
    path, eps, x0, y, distance
        As in `pair_distance`.
    t
        Times in (0, t_max], [batch].
    limit
        Largest weight of an error in x0; needed on paths whose speed is not bounded at the data (vp).

    Returns
    -------
    Tensor
        [batch].
    """
    a, _, s = path.broadcast(path.coefficients(t), x0)
    da, _, ds = path.broadcast(path.derivatives(t), x0)
    speed = (da - a * ds / s).abs().clamp(max=math.inf if limit is None else limit)
    return distance(speed * student(path.sample(x0, eps, t, y), t), speed * x0)


@dataclass(frozen=True)
class Reflow:
    """Train on the straight ways of the teacher's pairs.

    Parameters
    ----------
    limit
        See `reflow`.
    distance
        See `fewstep.core.distill.distance`.
    """

    limit: float | None = None
    distance: distances.Distance = distances.mse
    pairs: ClassVar[bool] = True

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        t = items.uniform(generator, path.t_min, path.t_max)
        distance = items.measured(self.distance)
        return reflow(nets.student, path, items.carried(), items.x0, t, y=items.y, limit=self.limit, distance=distance)


@dataclass(frozen=True)
class PairDistillation:
    """Answer at the prior with the teacher's end point; items with a time are states on the way to it."""

    distance: distances.Distance = distances.mse
    pairs: ClassVar[bool] = True

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        distance = items.measured(self.distance)
        return pair_distance(nets.student, path, items.carried(), items.x0, y=items.y, t=items.t, distance=distance)


@dataclass(frozen=True)
class Ends(PairDistillation):
    """`PairDistillation` for a student of several steps, with fresh noise between them; batches have times ``t``.

    Parameters
    ----------
    distance
        See `fewstep.core.distill.distance`.
    beside
        What is learnt from batches of data, without ``eps``, that come between those of trajectories; None: nothing.
    """

    beside: Recipe | None = None
    solver: ClassVar[str] = "consistency"

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        if items.eps is None and self.beside is not None:
            return self.beside.loss(nets, path, items, generator)
        return super().loss(nets, path, items, generator)
