"""The shared words of the core as types: what a denoiser and a net are."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
"""``denoise(x, t) -> x0_hat``: the currency of the core; x [batch, ...], t one time, x0_hat shaped like x."""

Net = Callable[..., Tensor]
"""``net(x, t)`` or ``net(x, t, cond)`` with t [batch]; what comes out is named by the parameterisation."""

NetTime = Callable[[Tensor], Tensor]
"""``net_time(t)``: what a net is told instead of the process time t."""


class Solver(Protocol):
    """Anything that makes a table of coefficients for a path and a grid of times."""

    def tableau(self, path: Any, times: Any) -> Any:
        """Fill the `Tableau` for `times` on `path`."""
