"""Consistency models: one answer for all points of a trajectory (Song et al. 2023, arXiv:2303.01469).

    f(x, t) = c_skip u/a + c_out F,    c_skip = sd² / ((sigma − sigma_min)² + sd²),   sigma = s/a
                                       c_out = (sigma − sigma_min) sd / sqrt(sigma² + sd²)

so that f(x, t_min) = u/a exactly. Distillation: f(x_t) = sg f_ema(x_r), x_r one teacher step from x_t (algorithm 2);
training: x_r is the same noise at r (algorithm 3). CoMoSpeech (arXiv:2305.06908) is the former on a path with y.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill import distance as distances
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.distill.segment import Step, ddim, heun
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def bounded(
    denoise: Denoise, path: AffinePath, *, sigma_data: float, t_min: float | None = None, y: Tensor | None = None
) -> Denoise:
    """Give any denoiser the boundary condition: the identity (up to u/a) at `t_min`, itself far from it.

    f = w u/a + (1 − w) denoise with w = sd² / ((sigma − sigma_min)² + sd²) has the boundary and turns a trained
    teacher into a student that is right where the teacher is. For a net with EDM's preconditioning it has c_skip and,
    up to terms of order sigma_min, c_out as above.

    Parameters
    ----------
    denoise
        ``(x, t) -> x0_hat``.
    path
        The process.
    sigma_data
        Standard deviation of the data.
    t_min
        Where the student is the identity; default `path.t_min`.
    y
        Degraded end, shaped like x; None is 0.

    Returns
    -------
    callable
        ``f(x, t) -> x0_hat``; times below `t_min` count as `t_min`.
    """
    lowest = path.t_min if t_min is None else t_min
    sigma_min = _sigma(path, torch.tensor(lowest, dtype=torch.float64))

    def f(x: Tensor, t: Tensor) -> Tensor:
        t = t.clamp(min=lowest)
        a, b, s = path.broadcast(path.coefficients(t), x)
        u = x if y is None else x - b * y
        # w / a with sigma = s / a written so that a = 0 (pure noise) is finite
        a2, over = a * sigma_data, (s - a * sigma_min.to(s)).clamp(min=0)
        share = a2.square() / (over.square() + a2.square())
        return (a * sigma_data**2 / (over.square() + a2.square())) * u + (1 - share) * denoise(x, t)

    return f


def consistency_distillation(
    student: Denoise,
    target: Denoise,
    teacher: Denoise,
    path: AffinePath,
    x: Tensor,
    t: Tensor,
    r: Tensor,
    *,
    y: Tensor | None = None,
    step: Step = ddim,
    distance: distances.Distance = distances.mse,
) -> Tensor:
    """Loss of algorithm 2, [batch].

    Parameters
    ----------
    student, target
        The student and its moving average, both with the boundary (`bounded`).
    teacher
        Whose trajectory is followed.
    path
        The process.
    x
        State at `t`, [batch, ...].
    t, r
        Neighbouring times of the grid, [batch], r < t.
    y
        Degraded end, shaped like `x`; None is 0.
    step
        One teacher step.
    distance
        See `fewstep.core.distill.distance`.

    Returns
    -------
    Tensor
        [batch].
    """
    with torch.no_grad():
        goal = target(step(teacher, path, x, t, r, y), r)
    return distance(student(x, t), goal)


def consistency_training(
    student: Denoise,
    target: Denoise,
    path: AffinePath,
    x0: Tensor,
    eps: Tensor,
    t: Tensor,
    r: Tensor,
    *,
    y: Tensor | None = None,
    distance: distances.Distance = distances.pseudo_huber,
) -> Tensor:
    """Loss of algorithm 3, [batch]: no teacher, the same noise at both times.

    Parameters
    ----------
    student, target, path, t, r, y, distance
        As in `consistency_distillation`.
    x0, eps
        Data and noise, [batch, ...].

    Returns
    -------
    Tensor
        [batch].
    """
    with torch.no_grad():
        goal = target(path.sample(x0, eps, r, y), r)
    return distance(student(path.sample(x0, eps, t, y), t), goal)


def steps_at(iteration: int, total: int, *, first: int = 10, last: int = 1280) -> int:
    """Number of grid steps that doubles over the training (Song & Dhariwal 2023, arXiv:2310.14189)."""
    doublings = max(1, (last // first).bit_length() - 1)
    every = max(1, total // (doublings + 1))
    return min(first * 2 ** (iteration // every), last)


def neighbours(grid: Tensor, n: int, generator: torch.Generator, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """`n` random pairs (t, r) of neighbours of a decreasing grid [k + 1]."""
    i = torch.randint(len(grid) - 1, (n,), generator=generator)
    return grid[i].to(device), grid[i + 1].to(device)


def _sigma(path: AffinePath, t: Tensor) -> Tensor:
    a, _, s = path.coefficients(t)
    return s / a


@dataclass(frozen=True)
class Consistency:
    """Consistency distillation on a fixed grid.

    Parameters
    ----------
    sigma_data
        Standard deviation of the data.
    steps
        Of the grid, even in theta = atan(s / (a sigma_data)) between the path's ends.
    step
        The teacher's step.
    distance
        See `fewstep.core.distill.distance`.
    """

    sigma_data: float
    steps: int = 40
    step: Step = heun
    distance: distances.Distance = distances.pseudo_huber
    pairs: ClassVar[bool] = False

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        t, r = neighbours(self.grid(path), len(items.x0), generator, items.x0.device)
        x = path.sample(items.x0, items.noise(generator), t, items.y)
        student, target = (self.read(net, path, items.y) for net in (nets.student, nets.target))
        return consistency_distillation(
            student, target, nets.teacher, path, x, t, r, y=items.y, step=self.step,
            distance=items.measured(self.distance),
        )  # fmt: skip

    def read(self, denoise: Denoise, path: AffinePath, y: Tensor | None = None) -> Denoise:
        """The student's answer, with its boundary, as it is to be sampled."""
        return bounded(denoise, path, sigma_data=self.sigma_data, y=y)

    def grid(self, path: AffinePath) -> Tensor:
        """Decreasing times [steps + 1], from t_max to t_min."""
        return even_angles(path, self.steps, self.sigma_data)


@dataclass(frozen=True)
class ConsistencyTraining:
    """Consistency training, without a teacher's trajectory: the student starts from the teacher's weights at most.

    Parameters
    ----------
    sigma_data
        Standard deviation of the data.
    total
        Iterations of the training, over which the grid is refined; past them it stays as it is.
    first, last
        Steps of the grid at the beginning and at the end, doubled in between (`steps_at`).
    distance
        See `fewstep.core.distill.distance`.

    References
    ----------
    Song & Dhariwal 2023, arXiv:2310.14189: the target is the student itself (`target_decay` 0), pseudo-Huber distance,
    weight 1 / (theta_t - theta_r) in the angle of the grid, relative to the mean of the batch.
    """

    sigma_data: float
    total: int
    first: int = 10
    last: int = 160
    distance: distances.Distance = distances.pseudo_huber
    pairs: ClassVar[bool] = False

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        steps = steps_at(items.iteration, self.total, first=self.first, last=self.last)
        grid = even_angles(path, steps, self.sigma_data)
        t, r = neighbours(grid, len(items.x0), generator, items.x0.device)
        student, target = (self.read(net, path, items.y) for net in (nets.student, nets.target))
        losses = consistency_training(
            student, target, path, items.x0, items.noise(generator), t, r, y=items.y,
            distance=items.measured(self.distance),
        )  # fmt: skip
        gap = _angle(path, t, self.sigma_data) - _angle(path, r, self.sigma_data)
        weight = 1 / gap.clamp(min=1e-6)
        return (weight / weight.mean()).to(losses.dtype) * losses

    def read(self, denoise: Denoise, path: AffinePath, y: Tensor | None = None) -> Denoise:
        """The student's answer, with its boundary, as it is to be sampled."""
        return bounded(denoise, path, sigma_data=self.sigma_data, y=y)


def even_angles(path: AffinePath, steps: int, sigma_data: float) -> Tensor:
    """Times [steps + 1] from t_max to t_min, even in theta = atan(s / (a sigma_data))."""
    ends = torch.tensor([path.t_max, path.t_min], dtype=torch.float64)
    theta = _angle(path, ends, sigma_data)
    even = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    inner = path.inverse(-torch.log(sigma_data * torch.tan(theta[0] + even[1:-1] * (theta[1] - theta[0]))))
    return torch.cat([ends[:1], inner, ends[1:]])


def _angle(path: AffinePath, t: Tensor, sigma_data: float) -> Tensor:
    return torch.atan(torch.exp(-path.lam(t)) / sigma_data)
