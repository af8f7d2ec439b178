"""Hard data consistency, x0 + A^+ (y − A x0): what was measured replaces what was guessed, the rest is kept.

DDNM (Wang et al. 2023, arXiv:2212.00490, section 3); for a mask on a Fourier transform, projection onto a convex set
(POCS).
"""

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.consistency import spread
from fewstep.core.consistency.measurement import measure
from fewstep.core.operators import LinearOperator
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def project(
    denoise: Denoise,
    A: LinearOperator,
    measured: Tensor,
    path: AffinePath,
    *,
    sigma_y: float = 0.0,
    iterations: int = 50,
    tolerance: float = 1e-6,
) -> Denoise:
    """x0 + min(1, sigma/sigma_y) A^+ (measured − A x0).

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
        Standard deviation of the measurement's noise. Where sigma is below it the move is shortened, as DDNM+ does so
        that the noise it brings in fits under the sampler's; DDNM+ compares with the noise of the next step, which a
        denoiser does not know. 0: full moves.
    iterations, tolerance
        Of conjugate gradients from x0, used where A^+ has no closed form; see
        `fewstep.core.operators.conjugate_gradient`.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``; costs one call.

    Raises
    ------
    UsageError
        If `measured` is not what `A` makes, or `sigma_y` is negative.

    References
    ----------
    Wang et al. 2023, arXiv:2212.00490, sections 3.1 and 3.2 (DDNM, DDNM+).
    """
    spread.check(sigma_y=sigma_y)
    measurement = measure(A, measured)

    def projected(x: Tensor, t: Tensor) -> Tensor:
        x0 = nfe.call(denoise, x, t)
        wide = measurement.wide(x0)
        nothing = torch.zeros((), device=x.device)
        step = measurement.step(wide, nothing, iterations=iterations, tolerance=tolerance)
        if sigma_y > 0:
            sigma = spread.variance(path, t, sigma_data=None, floor=0.0).sqrt()
            step = step * (sigma / sigma_y).clamp(max=1).to(step.real.dtype).reshape(-1, *[1] * (x.ndim - 1))
        return (wide + step).to(x0.dtype)

    return projected
