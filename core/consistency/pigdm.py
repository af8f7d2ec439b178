"""Pseudoinverse-guided diffusion: the likelihood of y given x_t with x0 ~ N(x0_hat, r_t² I), and its gradient.

    x0 + (s²/a) J.H A.H (r_t² A A.H + sigma_y² I)^-1 (y − A x0)
      = x0 + (s²/(a r_t²)) J.H (A.H A + (sigma_y/r_t)² I)^-1 A.H (y − A x0),     J = dx0_hat/dx

Song et al. 2023, "Pseudoinverse-Guided Diffusion Models for Inverse Problems", ICLR 2023, openreview 9_gsMA8MRKQ.
"""

import torch
from torch import Tensor

from fewstep.core.consistency import spread
from fewstep.core.consistency.measurement import measure
from fewstep.core.consistency.pull import outside_inference, tweedie, with_pullback
from fewstep.core.operators import LinearOperator
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def pigdm(
    denoise: Denoise,
    A: LinearOperator,
    measured: Tensor,
    path: AffinePath,
    *,
    sigma_data: float,
    sigma_y: float = 0.0,
    iterations: int = 50,
    tolerance: float = 1e-6,
) -> Denoise:
    """Add the score of N(measured; A x0, r_t² A A.H + sigma_y² I), through the denoiser.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``, through which gradients come.
    A
        What maps x0 to what is measured.
    measured
        [batch or 1, *A.shape_out]; not the degraded end y of the path.
    path
        The process; sigma = s/a.
    sigma_data
        Standard deviation of the data (the paper's is 1): r_t² = sigma² sigma_data²/(sigma² + sigma_data²). The answer
        is the posterior mean for Gaussian data of that variance.
    sigma_y
        Standard deviation of the measurement's noise (complex: of both parts together).
    iterations, tolerance
        Of conjugate gradients, used where there is no closed form; see `fewstep.core.operators.conjugate_gradient`.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``; costs one call and one backward pass, inside inference mode too.

    Raises
    ------
    UsageError
        If `measured` is not what `A` makes, a standard deviation is none, or no gradient comes through the denoiser.

    References
    ----------
    Song et al. 2023, ICLR, https://openreview.net/forum?id=9_gsMA8MRKQ (PiGDM).
    """
    spread.check(sigma_y=sigma_y, sigma_data=sigma_data)
    measurement = measure(A, measured)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        with outside_inference():
            x0, pull = with_pullback(denoise, x, t)
            wide = measurement.wide(x0)
            r2 = spread.variance(path, t, sigma_data=sigma_data, floor=0.0)
            damping = sigma_y**2 / r2 if sigma_y else torch.zeros_like(r2)
            step = measurement.step(wide, damping, iterations=iterations, tolerance=tolerance)
            scale = tweedie(path, t, x)
            pulled = scale / r2.reshape(scale.shape) * measurement.wide(pull(step))
            return (wide + torch.where(scale > 0, pulled.to(wide.dtype), step)).to(x0.dtype)

    return guided
