"""What a teacher does on the piece of trajectory that a student is taught to leap: deterministic steps t -> r.

Times are [batch], so that every item of a batch may be elsewhere on the path. In u = x − b y:

    DDIM   u_r = a_r D + (s_r / s_t) (u − a_t D)                                      (arXiv:2010.02502, eq. 12)
    Heun   the trapezoid rule in the variable theta = atan(s / (a sigma_data)), in which the ODE is dq/dtheta = −F
           with q = u / sqrt(s² + a² sigma_data²) and F of EDM's preconditioning       (arXiv:2206.00364, eq. 7)
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise

Step = Callable[..., Tensor]
"""``step(denoise, path, x, t, r, y) -> x_r``."""


def ddim(denoise: Denoise, path: AffinePath, x: Tensor, t: Tensor, r: Tensor, y: Tensor | None = None) -> Tensor:
    """One first-order step, one call.

    Parameters
    ----------
    denoise
        ``(x, t) -> x0_hat``, with t [batch].
    path
        The process.
    x
        State at `t`, [batch, ...].
    t, r
        [batch], r <= t.
    y
        Degraded end, shaped like `x`; None is 0.

    Returns
    -------
    Tensor
        State at `r`.
    """
    return jump(path, x, denoise(x, t), t, r, y)


def heun(
    denoise: Denoise,
    path: AffinePath,
    x: Tensor,
    t: Tensor,
    r: Tensor,
    y: Tensor | None = None,
    *,
    sigma_data: float = 1.0,
) -> Tensor:
    """One second-order step, two calls; of first order where it ends on noiseless data, where F is not defined.

    Parameters
    ----------
    denoise, path, x, t, r, y
        As in `ddim`.
    sigma_data
        Standard deviation of the data, in its unit.

    Returns
    -------
    Tensor
        State at `r`.
    """
    first = denoise(x, t)
    euler = jump(path, x, first, t, r, y)
    (theta, q, slope), (theta_r, _, slope_r) = (
        _turned(path, state, answer, time, y, sigma_data)
        for state, answer, time in ((x, first, t), (euler, denoise(euler, r), r))
    )
    a, b, s = path.broadcast(path.coefficients(r), x)
    turned = (q - (theta_r - theta) * (slope + slope_r) / 2) * torch.sqrt(s * s + (a * sigma_data) ** 2)
    end = turned if y is None else turned + b * y
    return torch.where(s > 0, end, euler)


def jump(path: AffinePath, x: Tensor, x0: Tensor, t: Tensor, r: Tensor, y: Tensor | None = None) -> Tensor:
    """The state at r on the straight line (in u/a against s/a) through x at t and x0: DDIM's step for a known x0.

    Parameters
    ----------
    path
        The process.
    x, x0
        State at `t` and the clean signal that is believed in, [batch, ...].
    t, r
        [batch]; s(t) > 0.
    y
        Degraded end, shaped like `x`; None is 0.

    Returns
    -------
    Tensor
        State at `r`.
    """
    a, b, s = path.broadcast(path.coefficients(t), x)
    a_r, b_r, s_r = path.broadcast(path.coefficients(r), x)
    kept = a_r * x0 + (s_r / s) * (x - a * x0)
    return kept if y is None else kept + (b_r - b * s_r / s) * y


def walk(
    denoise: Denoise,
    path: AffinePath,
    x: Tensor,
    times: Tensor,
    y: Tensor | None = None,
    *,
    step: Step = ddim,
) -> Tensor:
    """Several steps: through the columns of `times` [batch, n + 1].

    Raises
    ------
    UsageError
        If a row of times rises.
    """
    if times.ndim != 2 or bool((times.diff(dim=1) > 0).any()):
        raise UsageError(f"expected times [batch, n + 1] that do not rise along a row, got {times}")
    for t, r in zip(times.unbind(1)[:-1], times.unbind(1)[1:], strict=True):
        x = step(denoise, path, x, t, r, y)
    return x


def _turned(
    path: AffinePath, x: Tensor, x0: Tensor, t: Tensor, y: Tensor | None, sigma_data: float
) -> tuple[Tensor, Tensor, Tensor]:
    a, b, s = path.broadcast(path.coefficients(t), x)
    u = x if y is None else x - b * y
    norm = torch.sqrt(s * s + (a * sigma_data) ** 2)
    slope = norm / (s * sigma_data) * x0 - a * sigma_data / (norm * s) * u
    return torch.atan2(s, a * sigma_data), u / norm, slope
