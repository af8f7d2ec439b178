"""Progressive distillation: one student step does what two deterministic teacher steps do.

Salimans & Ho 2022 (arXiv:2202.00512), appendix G; in the x0 form of ProDiff (Huang et al. 2022, arXiv:2207.06389,
section 4.3). From x_t two DDIM steps of the teacher, t -> t' -> t'', give x''. The student's target is the x0 whose
single DDIM step from (x_t, t) to t'' lands on the same x'':

    x0_target = (u'' - (s''/s) u) / (a'' - (s''/s) a),      u = x - b y
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill import distance as distances
from fewstep.core.distill.recipe import Items, Nets, grid
from fewstep.core.distill.segment import ddim
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def progressive_target(
    teacher: Denoise, path: AffinePath, x: Tensor, t: Tensor, t_mid: Tensor, t_end: Tensor, y: Tensor | None = None
) -> Tensor:
    """What the student should answer at (x, t) so that its one step to `t_end` equals two teacher steps.

    Parameters
    ----------
    teacher : callable
        `(x, t) -> x0_hat`, with t of shape [batch].
    path : AffinePath
        The process.
    x : Tensor
        [batch, ...], the state at t.
    t, t_mid, t_end : Tensor
        [batch], decreasing; t_end = 0 is exact.
    y : Tensor, optional
        Degraded end of the path, shaped like x; None is 0.

    Returns
    -------
    Tensor
        Of x's shape, without gradient.

    Raises
    ------
    ValueError
        Unless t > t_mid > t_end >= 0 everywhere.
    """
    if not bool(((t > t_mid) & (t_mid > t_end) & (t_end >= 0)).all()):
        raise ValueError(f"progressive distillation wants t > t_mid > t_end >= 0, got {t}, {t_mid}, {t_end}")
    with torch.no_grad():
        end = ddim(teacher, path, ddim(teacher, path, x, t, t_mid, y), t_mid, t_end, y)
        (a, b, s), (ar, br, sr) = (path.broadcast(path.coefficients(time), x) for time in (t, t_end))
        y = x.new_zeros(()) if y is None else y
        ratio = sr / s
        return (end - br * y - ratio * (x - b * y)) / (ar - ratio * a)


@dataclass(frozen=True)
class Progressive:
    """One round of progressive distillation: a student of `steps` even steps from a teacher of twice as many.

    Parameters
    ----------
    steps
        Of the student.
    times
        Its falling times [steps + 1], the teacher takes their middles as well; default even ones.
    snr_limit
        The loss is weighted by max(SNR, 1), clipped here ("truncated SNR", arXiv:2202.00512, §4).
    distance
        See `fewstep.core.distill.distance`.
    """

    steps: int
    times: Sequence[float] | None = None
    snr_limit: float = 5.0
    distance: distances.Distance = distances.mse
    pairs: ClassVar[bool] = False

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        times = self.grid(path)
        number = torch.randint(self.steps, (len(items.x0),), generator=generator)
        t, end = (times[index].to(items.x0.device) for index in (number, number + 1))
        middle = (t + end) / 2
        x = path.sample(items.x0, items.noise(generator), t, items.y)
        target = progressive_target(nets.teacher, path, x, t, middle, end, items.y)
        weight = (2 * path.lam(t)).exp().clamp(1.0, self.snr_limit)
        return weight * items.measured(self.distance)(nets.student(x, t), target)

    def grid(self, path: AffinePath) -> Tensor:
        """The student's times."""
        return grid(path, self.steps, self.times)
