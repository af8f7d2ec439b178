"""The shared words of the core as types: denoisers, nets, solvers, and what a run of `sample` tells and returns."""

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class StepInfo:
    """What a callback sees after row `i` of the table, by reference: read it, or copy what you keep.

    Parameters
    ----------
    i, step
        Row of the table and step of the grid, counted from 0; they differ for solvers with stages.
    t_eval, t
        Time at which the denoiser was asked, and time of `x`.
    x
        The new state, [batch, ...].
    denoised
        The denoiser's answer, [batch, ...].
    """

    i: int
    step: int
    t_eval: float
    t: float
    x: Tensor
    denoised: Tensor


class StopSampling(Exception):
    """Raised by a callback to end sampling; the result is `x`, or the current state."""

    def __init__(self, x: Tensor | None = None):
        super().__init__("sampling was stopped by a callback")
        self.x = x


Callback = Callable[[StepInfo], Tensor | None]


@dataclass(frozen=True)
class SampleResult:
    """What came out.

    Parameters
    ----------
    x
        The last state, [batch, ...].
    nfe
        Network calls per item, as counted.
    times
        The times that were visited, decreasing, float64.
    """

    x: Tensor
    nfe: int
    times: Tensor
