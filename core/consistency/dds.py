"""Decomposed diffusion sampling: a few steps of conjugate gradients from the denoiser's answer.

    without noise   A.H A z = A.H y                            with noise   (I + g A.H A) z = x0 + g A.H y,  z_0 = x0

Chung et al. 2024, arXiv:2303.05754. Few steps stay near the denoiser's answer, which does the regularising. The weight
is g = r_t²/sigma_y² here, calibrated to both noises, where the paper has one number for all times.
"""

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.consistency import spread
from fewstep.core.consistency.measurement import measure
from fewstep.core.errors import UsageError
from fewstep.core.operators import LinearOperator
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def dds(
    denoise: Denoise,
    A: LinearOperator,
    measured: Tensor,
    path: AffinePath,
    *,
    sigma_y: float = 0.0,
    sigma_data: float | None = None,
    floor: float = 0.0,
    iterations: int = 5,
) -> Denoise:
    """`iterations` steps of conjugate gradients from x0 towards the measurement.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``.
    A
        What maps x0 to what is measured.
    measured
        [batch or 1, *A.shape_out]; not the degraded end y of the path.
    path
        The process; sigma = s/a.
    sigma_y
        Standard deviation of the measurement's noise (complex: of both parts together); 0: the plain normal equations.
    sigma_data
        Standard deviation of the data: r_t² = sigma² sigma_data²/(sigma² + sigma_data²); None: r_t = sigma. Not read
        if `sigma_y` is 0, like `floor`.
    floor
        Least r_t, for the denoiser's own error.
    iterations
        Of conjugate gradients, >= 1.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``; costs one call.

    Raises
    ------
    UsageError
        If `measured` is not what `A` makes, a standard deviation is none, or there is no iteration.

    References
    ----------
    Chung et al. 2024, arXiv:2303.05754 (DDS).
    """
    if iterations < 1:
        raise UsageError(f"expected iterations >= 1, got {iterations}")
    spread.check(sigma_y=sigma_y, sigma_data=sigma_data, floor=floor)
    measurement = measure(A, measured)

    def corrected(x: Tensor, t: Tensor) -> Tensor:
        x0 = nfe.call(denoise, x, t)
        wide = measurement.wide(x0)
        damping = torch.zeros((), device=x.device)
        if sigma_y > 0:
            damping = sigma_y**2 / spread.variance(path, t, sigma_data=sigma_data, floor=floor)
        return (wide + measurement.descent(wide, damping, iterations=iterations)).to(x0.dtype)

    return corrected
