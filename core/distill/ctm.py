"""Consistency trajectory models: G(x, t, r) leaps from any time t to any earlier r (Kim et al. 2023, arXiv:2310.02279).

    G(x, t, r) = the state at r on the line through x and g(x, t, r), so that G(x, t, t) = x
    soft consistency:  G(x_t, t, r)  ~  sg G(step(x_t, t, u), u, r),  t > u >= r, both carried on to 0 and compared

A net of two times and, if guidance is distilled into it, of the guidance weight; DITTO-2 (arXiv:2405.20289) uses it
without the adversarial and denoising terms.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.core.distill import distance as distances
from fewstep.core.distill.segment import jump
from fewstep.core.paths import AffinePath

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


def three_times(grid: Tensor, n: int, generator: torch.Generator, device: torch.device | str) -> tuple[Tensor, ...]:
    """`n` random t > u >= r of a decreasing grid [k + 1], r not at its end unless drawn so."""
    k = len(grid) - 1
    i = torch.randint(k, (n,), generator=generator)
    j = i + 1 + (torch.rand(n, generator=generator) * (k - i)).long()
    m = j + (torch.rand(n, generator=generator) * (k - j + 1)).long()
    return tuple(grid[index].to(device) for index in (i, j.clamp(max=k), m.clamp(max=k)))
