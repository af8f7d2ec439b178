"""The proximal step of DiffPIR: the guess and the measurement, each trusted as its noise allows.

    argmin_z |A z − y|² / (2 sigma_y²) + |z − x0|² / (2 r_t²) = x0 + (A.H A + (sigma_y/r_t)² I)^-1 A.H (y − A x0)

Zhu et al. 2023, arXiv:2305.08995, where r_t² is sigma_t²/lambda: a lambda is a factor sqrt(lambda) in sigma_y.
"""

from torch import Tensor

from fewstep.core import nfe
from fewstep.core.consistency import spread
from fewstep.core.consistency.measurement import measure
from fewstep.core.errors import UsageError
from fewstep.core.operators import LinearOperator
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def prox(
    denoise: Denoise,
    A: LinearOperator,
    measured: Tensor,
    path: AffinePath,
    *,
    sigma_y: float,
    sigma_data: float | None = None,
    floor: float = 0.0,
    iterations: int = 50,
    tolerance: float = 1e-6,
) -> Denoise:
    """The minimiser of |A z − measured|²/(2 sigma_y²) + |z − x0|²/(2 r_t²).

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
        Standard deviation of the measurement's noise, > 0 (complex: of both parts together).
    sigma_data
        Standard deviation of the data: r_t² = sigma² sigma_data²/(sigma² + sigma_data²), with which the answer is the
        posterior mean for Gaussian data of that variance; None: r_t = sigma, as DiffPIR has it.
    floor
        Least r_t, for the denoiser's own error.
    iterations, tolerance
        Of conjugate gradients, used where there is no closed form; see `fewstep.core.operators.conjugate_gradient`.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``; costs one call.

    Raises
    ------
    UsageError
        If `measured` is not what `A` makes, or a standard deviation is none.

    References
    ----------
    Zhu et al. 2023, arXiv:2305.08995 (DiffPIR).
    """
    if not sigma_y > 0:
        raise UsageError(f"expected sigma_y > 0, got {sigma_y}: without noise, use consistency.project")
    spread.check(sigma_y=sigma_y, sigma_data=sigma_data, floor=floor)
    measurement = measure(A, measured)

    def corrected(x: Tensor, t: Tensor) -> Tensor:
        x0 = nfe.call(denoise, x, t)
        wide = measurement.wide(x0)
        damping = sigma_y**2 / spread.variance(path, t, sigma_data=sigma_data, floor=floor)
        return (wide + measurement.step(wide, damping, iterations=iterations, tolerance=tolerance)).to(x0.dtype)

    return corrected
