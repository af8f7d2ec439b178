"""How far x0 may be from the denoiser's answer at a time, from the path alone: sigma = s/a on every path.

    sigma² without knowing the data;  sigma² sigma_data² / (sigma² + sigma_data²) for data of that standard deviation,
    exact for N(mean, sigma_data² I)

For complex data all variances are those of real and imaginary part together.
"""

import math

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


def variance(path: AffinePath, t: Tensor, *, sigma_data: float | None, floor: float) -> Tensor:
    """Variance of x0 given x_t.

    Parameters
    ----------
    path
        The process.
    t
        One time, or [batch].
    sigma_data
        Standard deviation of the data; None: unknown, as if infinite.
    floor
        Standard deviation below which the answer does not fall: the denoiser's own error.

    Returns
    -------
    Tensor
        Shaped like `t`; infinite where x_t says nothing and `sigma_data` is None.
    """
    ratio = torch.exp(2 * path.lam(t))
    squared = 1 / ratio if sigma_data is None else sigma_data**2 / (1 + sigma_data**2 * ratio)
    return squared.clamp(min=floor**2)


def check(*, sigma_y: float = 0.0, sigma_data: float | None = None, floor: float = 0.0) -> None:
    """Refuse standard deviations that are none.

    Raises
    ------
    UsageError
        If one is negative or not finite, or `sigma_data` is 0.
    """
    if not 0 <= sigma_y < math.inf:
        raise UsageError(f"expected a finite sigma_y >= 0, got {sigma_y}")
    if sigma_data is not None and not 0 < sigma_data < math.inf:
        raise UsageError(f"expected a finite sigma_data > 0, or None if it is not known, got {sigma_data}")
    if not 0 <= floor < math.inf:
        raise UsageError(f"expected a finite floor >= 0, got {floor}")
