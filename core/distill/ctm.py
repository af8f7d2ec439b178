"""Consistency trajectory models: G(x, t, r) leaps from any time t to any earlier r (Kim et al. 2023, arXiv:2310.02279).

    G(x, t, r) = the state at r on the line through x and g(x, t, r), so that G(x, t, t) = x
    soft consistency:  G(x_t, t, r)  ~  sg G(step(x_t, t, u), u, r),  t > u >= r, both carried on to 0 and compared

A net of two times and, if guidance is distilled into it, of the guidance weight; DITTO-2 (arXiv:2405.20289) uses it
without the adversarial and denoising terms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill import distance as distances
from fewstep.core.distill.consistency import even_angles
from fewstep.core.distill.informed import Told
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.distill.segment import Step, heun, jump
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise

Leap = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``leap(x, t, r) -> x_r`` with t, r [batch]."""


def leap(g: Callable[[Tensor, Tensor, Tensor], Tensor], path: AffinePath, y: Tensor | None = None) -> Leap:
    """The trajectory function of a net of two times, with its boundary.

    Parameters
    ----------
    g
        ``g(x, t, r) -> x0_hat``.
    path
        The process.
    y
        Degraded end, shaped like x; None is 0.

    Returns
    -------
    callable
        ``leap(x, t, r) -> x_r``; the state itself where r = t.
    """

    def go(x: Tensor, t: Tensor, r: Tensor) -> Tensor:
        return jump(path, x, g(x, t, r), t, r, y)

    return go


def ctm_distillation(
    student: Leap,
    target: Leap,
    segment: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    t: Tensor,
    u: Tensor,
    r: Tensor,
    *,
    t_min: float = 0.0,
    distance: distances.Distance = distances.mse,
) -> Tensor:
    """Soft consistency loss, [batch].

    Parameters
    ----------
    student, target
        The student's leap and that of its moving average.
    segment
        ``(x, t, u) -> x_u``: the teacher's way from t to u, one or several steps.
    x
        State at `t`, [batch, ...].
    t, u, r
        [batch], t > u >= r >= t_min.
    t_min
        Where both ends are carried before they are compared.
    distance
        See `fewstep.core.distill.distance`.

    Returns
    -------
    Tensor
        [batch].
    """
    end = torch.full_like(t, t_min)
    with torch.no_grad():
        goal = target(target(segment(x, t, u), u, r), r, end)
    return distance(target(student(x, t, r), r, end), goal)  # gradient through the state, not the average's weights


def three_times(
    grid: Tensor, n: int, generator: torch.Generator, device: torch.device | str, *, leaps: int | None = None
) -> tuple[Tensor, ...]:
    """`n` random t > u >= r of a decreasing grid [k + 1], r not at its end unless drawn so, t to u at most `leaps`."""
    k = len(grid) - 1
    i = torch.randint(k, (n,), generator=generator)
    j = i + 1 + (torch.rand(n, generator=generator) * (k - i).clamp(max=k if leaps is None else leaps)).long()
    m = j + (torch.rand(n, generator=generator) * (k - j + 1)).long()
    return tuple(grid[index].to(device) for index in (i, j.clamp(max=k), m.clamp(max=k)))


@dataclass(frozen=True)
class ConsistencyTrajectory:
    """CTM: a student of two times, and of the guidance weight if guidance is to be distilled with it (DITTO-2).

    Parameters
    ----------
    sigma_data
        Standard deviation of the data.
    steps
        Of the grid of t, u and r, even in theta = atan(s / (a sigma_data)) between the path's ends.
    step
        The teacher's step.
    leaps
        Longest way that the teacher goes, in steps of the grid.
    guidance
        Lowest and highest guidance weight to learn; batches need ``uncond`` then. The student is told the weight.
    denoising
        Weight of the regression on the data at r = t, which CTM has beside its consistency; 0 in DITTO-2.
    distance
        See `fewstep.core.distill.distance`.
    """

    sigma_data: float
    steps: int = 18
    step: Step = heun
    leaps: int = 4
    guidance: tuple[float, float] | None = None
    denoising: float = 0.0
    distance: distances.Distance = distances.mse
    pairs: ClassVar[bool] = False

    @property
    def told(self) -> Told:
        """What the student is told: where it is to arrive, and the weight."""
        return Told(end=True, guidance=None if self.guidance is None else (self.guidance[0], self.guidance[1]))

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        x0, y, n = items.x0, items.y, len(items.x0)
        grid = even_angles(path, self.steps, self.sigma_data).float()
        t, u, r = three_times(grid, n, generator, x0.device, leaps=self.leaps)
        w = self.told.weights(n, generator)
        student, target = (leap(_of_two_times(net, w), path, y) for net in (nets.student, nets.target))
        segment = partial(self._segment, self._teacher(nets, w), path, grid.to(x0.device), y)
        x = path.sample(x0, items.noise(generator), t, y)
        distance = items.measured(self.distance)
        losses = ctm_distillation(student, target, segment, x, t, u, r, t_min=path.t_min, distance=distance)
        if self.denoising:
            losses = losses + self.denoising * distance(nets.student(x, t, r=t, w=w), x0)
        return losses

    def _teacher(self, nets: Nets, w: Tensor | None) -> Denoise:
        if w is None:
            return nets.teacher
        if nets.guided is None:
            raise UsageError("guidance weights are learnt: batches need 'uncond', what the net is told without a cond")
        return nets.guided(w)

    def _segment(
        self, teacher: Denoise, path: AffinePath, grid: Tensor, y: Tensor | None, x: Tensor, t: Tensor, u: Tensor
    ) -> Tensor:
        """The teacher's way from t to u along the grid; items that have arrived stay where they are."""
        for _ in range(self.leaps):
            r = torch.minimum(torch.maximum(_after(grid, t), u), t)
            x, t = self.step(teacher, path, x, t, r, y), r
        return x


def _of_two_times(net: Callable[..., Tensor], w: Tensor | None) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda x, t, r: net(x, t, r=r, w=w)


def _after(grid: Tensor, t: Tensor) -> Tensor:
    """The next lower time of a decreasing grid for each t [batch] of it; something else at its end."""
    later = (grid[None, :] < t[:, None]).long().argmax(dim=1)
    return grid[later]
