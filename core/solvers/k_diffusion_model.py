"""k-diffusion's and EDM's models: ``model(x, sigma)``, the clean signal at x = x0 + sigma eps, as our denoiser."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def from_k_diffusion(model: Callable[..., Tensor], path: AffinePath, **extra_args: Any) -> Denoise:
    """Denoise with a model of k-diffusion's, on any path without y.

    Parameters
    ----------
    model
        ``model(x, sigma, **extra_args) -> x0_hat``; x [batch, ...], sigma [batch] in the data's unit.
    path
        ``paths.edm`` or ``paths.ve`` for x as the model knows it; others are scaled, since u/a = x0 + (s/a) eps.
    extra_args
        Handed to the model.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``.

    Raises
    ------
    UsageError
        If the path has a y.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, section 2.
    """
    if float(path.coefficients(path.t_max)[1]) != 0:
        raise UsageError(f"k-diffusion's models know no y, so expected a path without one, got {path.key}")

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        a, _, s = path.broadcast(path.coefficients(t), x)
        return model(x / a, (s / a).reshape(-1).expand(len(x)), **extra_args)

    return denoise
