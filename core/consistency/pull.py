"""Gradients through the denoiser, for methods that add the score of a likelihood to that of the prior.

By Tweedie's formula a gradient g of the log-likelihood with respect to x moves x0_hat by (s²/a) g; with the Jacobian
J = dx0_hat/dx, g = J.H times a gradient with respect to x0_hat, and (s²/a) J is the covariance of x0 given x_t.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


@contextmanager
def outside_inference() -> Iterator[bool]:
    """Leave inference mode, but keep no graph that was not asked for outside; yields whether one was.

    Yields
    ------
    bool
        Whether gradients were on.
    """
    asked = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(asked):
        yield asked


def with_pullback(denoise: Denoise, x: Tensor, t: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The denoiser's answer, and the function v -> J.H v; to be called in `outside_inference`.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``.
    x
        State, [batch, ...].
    t
        One time, or [batch].

    Returns
    -------
    x0_hat, pull
        Without a graph unless gradients are on.

    Raises
    ------
    UsageError
        If no gradient comes through the denoiser.
    """
    asked = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().clone().requires_grad_()
        x0 = nfe.call(denoise, leaf, t.clone())
    if not x0.requires_grad:
        raise UsageError("expected a denoiser that gradients come through, got an answer that does not depend on x")

    def pull(v: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(x0, leaf, v.to(x0.dtype), create_graph=asked)
        return gradient

    return x0 if asked else x0.detach(), pull


def tweedie(path: AffinePath, t: Tensor, x: Tensor) -> Tensor:
    """s²/a, made to multiply `x`; 0 where a = 0, for there x_t says nothing and J is 0."""
    wide = t if t.dtype is torch.float64 else t.float()
    a, _, s = path.coefficients(wide)
    scale = torch.where(a > 0, s * s / torch.where(a > 0, a, 1.0), 0.0)
    return scale.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
