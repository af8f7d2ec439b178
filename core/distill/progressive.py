"""Progressive distillation: one student step does what two deterministic teacher steps do.

Salimans & Ho 2022 (arXiv:2202.00512), appendix G; in the x0 form of ProDiff (Huang et al. 2022, arXiv:2207.06389,
section 4.3). From x_t two DDIM steps of the teacher, t -> t' -> t'', give x''. The student's target is the x0 whose
single DDIM step from (x_t, t) to t'' lands on the same x'':

    x0_target = (u'' - (s''/s) u) / (a'' - (s''/s) a),      u = x - b y
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.core.paths import AffinePath

Denoise = Callable[[Tensor, Tensor], Tensor]


def ddim_step(path: AffinePath, x: Tensor, x0: Tensor, t: Tensor, r: Tensor, y: Tensor | None = None) -> Tensor:
    """The deterministic first-order step from t to r < t, for times of shape [batch].

    Parameters
    ----------
    path : AffinePath
        The process.
    x, x0 : Tensor
        State at t and the estimate of the clean signal, [batch, ...].
    t, r : Tensor
        [batch].
    y : Tensor, optional
        Degraded end of the path, shaped like x; None is 0.

    Returns
    -------
    Tensor
        State at r, of x's shape.
    """
    (a, b, s), (ar, br, sr) = (_coefficients(path, time, x) for time in (t, r))
    y = x.new_zeros(()) if y is None else y
    return ar * x0 + br * y + sr / s * (x - a * x0 - b * y)


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
        middle = ddim_step(path, x, teacher(x, t), t, t_mid, y)
        end = ddim_step(path, middle, teacher(middle, t_mid), t_mid, t_end, y)
        (a, b, s), (ar, br, sr) = (_coefficients(path, time, x) for time in (t, t_end))
        y = x.new_zeros(()) if y is None else y
        ratio = sr / s
        return (end - br * y - ratio * (x - b * y)) / (ar - ratio * a)


def _coefficients(path: AffinePath, t: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    shape = (-1,) + (1,) * (like.ndim - 1)
    return tuple(c.to(like.real.dtype).reshape(shape) for c in path.coefficients(t.double()))
