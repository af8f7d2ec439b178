"""A net with EDM's preconditioning as one module that says x0, to be trained, exported and distilled as such.

x0 = c_skip u/a + c_out F(c_in u/a, log(sigma)/4),   sigma = s/a        (Karras et al. 2022, arXiv:2206.00364, eq. 7)
"""

from typing import Any

from torch import Tensor, nn

from fewstep.core import parameterize
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


class Preconditioned(nn.Module):
    """``net(x, t, cond) -> x0_hat`` around ``inner(x, c_noise, cond)``.

    Parameters
    ----------
    inner
        F; its answer has the shape of x.
    path
        The process whose times this net is told.
    sigma_data
        Standard deviation of the data, in its unit.

    Raises
    ------
    UsageError
        If `sigma_data` is not positive.
    """

    def __init__(self, inner: nn.Module, path: AffinePath, *, sigma_data: float):
        super().__init__()
        if not sigma_data > 0:
            raise UsageError(f"expected sigma_data > 0, got {sigma_data}")
        self.inner, self.path, self.sigma_data = inner, path, sigma_data

    def forward(self, x: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """State [B, ...] and times [B] -> x0_hat, shaped like the state."""
        return parameterize.edm(self.inner, self.path, self.sigma_data, cond=cond)(x, t)


def edm_weight(path: AffinePath, t: Tensor, *, sigma_data: float) -> Tensor:
    """1/c_out² = (sigma² + sigma_data²)/(sigma sigma_data)²: each noise level's loss is about 1 at first.

    Parameters
    ----------
    path
        The process.
    t
        Times, [B].
    sigma_data
        Standard deviation of the data.

    Returns
    -------
    Tensor
        [B].

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, table 1.
    """
    square = (-2 * path.lam(t)).exp().to(t.dtype)
    return (square + sigma_data**2) / (square * sigma_data**2)
