"""The grid of the trig basis: sigma = s/a = scale tan(theta), with theta = theta_max u^power and u from 1 to 0.

theta is bounded, so the grid reaches sigma = 0 with ordinary steps; where a path ends at some noise, theta ends there.
With scale = sigma_data and power = 1 the steps are equal in the variable of the ``"trig"`` basis
(`fewstep.core.solvers.basis`).
"""

import math

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


def theta(path: AffinePath, n: int, *, scale: float, power: float = 2.0, start: float | None = None) -> Tensor:
    """Steps in the angle atan(sigma / scale), finer towards the data as `power` grows; the last one ends at t = 0.

    Parameters
    ----------
    path
        The process.
    n
        Number of steps.
    scale
        Noise level sigma, in the data's unit, at which theta is 45 degrees: most steps lie around it.
    power
        1 for equal steps in theta.
    start
        First time; default `path.t_max`.

    Returns
    -------
    Tensor
        Decreasing, float64, [n + 1].

    Raises
    ------
    UsageError
        If n < 1, `scale` or `power` is not positive and finite, or `start` is outside the path.
    """
    start = path.t_max if start is None else start
    if n < 1:
        raise UsageError(f"expected at least one step, got n={n}")
    for name, value in (("scale", scale), ("power", power)):
        if not (value > 0 and math.isfinite(value)):
            raise UsageError(f"expected {name} > 0, got {value}")
    if not 0 < start <= path.t_max:
        raise UsageError(f"expected 0 < start <= {path.t_max}, got {start=}")
    first, last = (math.atan2(math.exp(-float(path.lam(t))), scale) for t in (start, 0.0))
    angle = last + (first - last) * torch.linspace(1, 0, n + 1, dtype=torch.float64) ** power
    inner = path.inverse(-torch.log(scale * torch.tan(angle[1:-1])))
    return torch.cat([inner.new_tensor([start]), inner, inner.new_zeros(1)])
