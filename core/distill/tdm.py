"""Trajectory distribution matching: match the law at every step of a student (Luo et al. 2025, arXiv:2503.06674).

The student of K steps is rolled out to a random one of them without gradient; from its answer there the state leaps to
the end t_mid of that step, is diffused on to t in (t_mid, t_max) by the forward process,

    u_t = (a_t/a_mid) u_mid + sqrt(s_t² − (a_t/a_mid)² s_mid²) eps

and the difference of the real and fake denoisers there moves the answer. One net per noise level, no data. The fake
denoiser is trained on just these u_t: the noise of u_mid is the student's own and depends on its answer, so that x0
with fresh noise, which the paper trains on with importance weights, is another law.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill.distance import mean, mse
from fewstep.core.distill.distribution import gradient
from fewstep.core.distill.recipe import Items, Nets, grid
from fewstep.core.distill.segment import jump
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


@dataclass(frozen=True)
class Answer:
    """What the student said on its way: x0 [batch, ...] (with gradient), the end t_mid [batch] of the step, x there."""

    x0: Tensor
    t_mid: Tensor
    x_mid: Tensor


def roll(student: Denoise, path: AffinePath, x: Tensor, grid: Tensor, step: int, *, y: Tensor | None = None) -> Answer:
    """The student's answer in one of its steps, after the steps before it.

    Parameters
    ----------
    student
        ``(x, t) -> x0_hat``.
    path
        The process.
    x
        State at the prior, [batch, ...].
    grid
        The student's decreasing times, [K + 1].
    step
        0 .. K − 1; only this one has a gradient.
    y
        Degraded end, shaped like `x`; None is 0.

    Returns
    -------
    Answer

    Raises
    ------
    UsageError
        If there is no such step.
    """
    if not 0 <= step < len(grid) - 1:
        raise UsageError(f"expected a step of 0 .. {len(grid) - 2}, got {step}")
    times = [grid[i].to(x.device).expand(len(x)) for i in range(len(grid))]
    with torch.no_grad():
        for t, r in pairwise(times[: step + 1]):
            x = jump(path, x, student(x, t), t, r, y)
    x0 = student(x, times[step])
    return Answer(x0, times[step + 1], jump(path, x, x0, times[step], times[step + 1], y))


def renoise(path: AffinePath, x: Tensor, t_from: Tensor, t: Tensor, eps: Tensor, *, y: Tensor | None = None) -> Tensor:
    """Forward process from a state at `t_from` to the later `t`, [batch, ...].

    Parameters
    ----------
    path
        The process, one whose forward process is Markov with these marginals.
    x
        State at `t_from`, [batch, ...].
    t_from, t
        [batch], t_from <= t.
    eps
        Noise, shaped like `x`.
    y
        Degraded end, shaped like `x`; None is 0.
    """
    a, b, s = path.broadcast(path.coefficients(t_from), x)
    a_t, b_t, s_t = path.broadcast(path.coefficients(t), x)
    ratio = a_t / a
    moved = ratio * x + (s_t.square() - (ratio * s).square()).clamp(min=0).sqrt() * eps
    return moved if y is None else moved + (b_t - ratio * b) * y


def trajectory_matching(
    answer: Answer,
    real: Denoise,
    fake: Denoise,
    path: AffinePath,
    eps: Tensor,
    t: Tensor,
    *,
    y: Tensor | None = None,
    c: float = 1e-3,
    mask: Tensor | None = None,
) -> Tensor:
    """The student's loss, a pseudo-Huber distance, [batch].

    Parameters
    ----------
    answer
        From `roll`.
    real, fake
        The (guided) teacher and the denoiser of the student's law.
    path
        The process.
    eps
        Noise, [batch, ...].
    t
        Where the laws are compared, [batch], later than ``answer.t_mid``.
    y
        Degraded end, shaped like `eps`; None is 0.
    c
        Of the pseudo-Huber distance.
    mask
        What is not padding, broadcast to `eps`.

    Returns
    -------
    Tensor
        [batch].
    """
    with torch.no_grad():
        x = renoise(path, answer.x_mid, answer.t_mid, t, eps, y=y)
        goal = answer.x0 - gradient(answer.x0, real(x, t), fake(x, t), mask=mask)
    errors = (answer.x0 - goal).abs().square()
    return mean((errors + c * c).sqrt() - c, mask)


def diffused(
    fake: Denoise, answer: Answer, path: AffinePath, eps: Tensor, t: Tensor, *, y: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The fake denoiser's loss at the states diffused from `answer`, [batch].

    With c² = s_t² − (a_t/a_mid)² s_mid² the score of their law is E[−eps / c | u_t]; in a denoiser D's words it is
    (a_t D − u_t) / s_t², so that eps is compared with c (u_t − a_t D) / s_t².

    Parameters
    ----------
    fake
        The denoiser of the student's law.
    answer, path, eps, t, y
        As in `trajectory_matching`.
    mask
        What is not padding, broadcast to `eps`.

    Returns
    -------
    Tensor
        [batch].
    """
    x = renoise(path, answer.x_mid, answer.t_mid, t, eps, y=y).detach()
    a, _, s = path.broadcast(path.coefficients(answer.t_mid), x)
    a_t, b_t, s_t = path.broadcast(path.coefficients(t), x)
    c = (s_t.square() - (a_t / a * s).square()).clamp(min=0).sqrt()
    u = x if y is None else x - b_t * y
    return mse(c * (u - a_t * fake(x, t)) / s_t.square(), eps, mask)


@dataclass(frozen=True)
class TrajectoryMatching:
    """TDM for a student of `steps` steps.

    Parameters
    ----------
    steps
        Of the student.
    times
        Its falling times [steps + 1]; default even ones.
    high
        Latest time at which laws are compared, as a share of t_max.
    """

    steps: int = 4
    times: Sequence[float] | None = None
    high: float = 0.98
    pairs: ClassVar[bool] = False

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        answer = self._roll(nets.student, path, items, generator)
        t, eps = self._later(answer, path, items, generator), items.noise(generator)
        return trajectory_matching(answer, nets.teacher, nets.of_student(), path, eps, t, y=items.y, mask=items.mask)

    def fake_loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        with torch.no_grad():
            answer = self._roll(nets.student, path, items, generator)
        t = self._later(answer, path, items, generator)
        return diffused(nets.of_student(), answer, path, items.noise(generator), t, y=items.y, mask=items.mask)

    def _later(self, answer: Answer, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """Times after the end of the step, before almost pure noise."""
        u = items.uniform(generator, 0.02, 0.98)
        return (answer.t_mid + u * (self.high * path.t_max - answer.t_mid)).clamp(min=path.t_min)

    def _roll(self, student: Denoise, path: AffinePath, items: Items, generator: torch.Generator) -> Answer:
        step = int(torch.randint(self.steps, (), generator=generator))
        return roll(student, path, path.prior(items.noise(generator), items.y), self.grid(path), step, y=items.y)

    def grid(self, path: AffinePath) -> Tensor:
        """The student's times."""
        return grid(path, self.steps, self.times)
