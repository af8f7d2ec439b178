"""Diffusion posterior sampling: down the gradient of |y − A x0_hat(x_t)| with respect to the state.

Chung et al. 2023, arXiv:2209.14687, algorithm 1. There the gradient is taken from the state after the step; here it is
added to the score, which moves x0_hat by (s²/a) times it, so that any solver may follow.
"""

import math

from torch import Tensor

from fewstep.core.consistency.measurement import measure
from fewstep.core.consistency.pull import outside_inference, tweedie, with_pullback
from fewstep.core.errors import UsageError
from fewstep.core.operators import LinearOperator
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def dps(denoise: Denoise, A: LinearOperator, measured: Tensor, path: AffinePath, *, zeta: float) -> Denoise:
    """x0 − zeta (s²/a) grad_x |measured − A x0(x)|, each item with its own norm.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``, through which gradients come.
    A
        What maps x0 to what is measured.
    measured
        [batch or 1, *A.shape_out]; not the degraded end y of the path.
    path
        The process.
    zeta
        Length of the move, > 0: 1/|measured − A x0| times the inverse of the variance one believes in.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``; costs one call and one backward pass, inside inference mode too.

    Raises
    ------
    UsageError
        If `measured` is not what `A` makes, `zeta` is not positive, or no gradient comes through the denoiser.

    References
    ----------
    Chung et al. 2023, arXiv:2209.14687, algorithm 1.
    """
    if not 0 < zeta < math.inf:
        raise UsageError(f"expected a finite zeta > 0, got {zeta}")
    measurement = measure(A, measured)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        with outside_inference():
            x0, pull = with_pullback(denoise, x, t)
            wide = measurement.wide(x0)
            norm = measurement.missing(wide).abs().square().flatten(1).sum(1).sqrt()
            norm = norm.reshape(-1, *[1] * (x0.ndim - 1)).clamp(min=1e-30)
            gradient = measurement.wide(pull(measurement.back(wide) / norm))
            return (wide + zeta * tweedie(path, t, x).to(norm.dtype) * gradient).to(x0.dtype)

    return guided
