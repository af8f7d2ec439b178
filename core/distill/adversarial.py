"""Denoising diffusion GANs: large steps whose law is not Gaussian, learnt against a discriminator of pairs.

Xiao et al. 2021 (arXiv:2112.07804), as EMDM (arXiv:2312.02256): a generator says x0 from (x_t, t, latent), the
state x_r is drawn from the posterior q(x_r | x_t, x0), and a discriminator sees (x_r, r, x_t). Losses are the
non-saturating ones with softplus; R1 (Mescheder et al. 2018, arXiv:1801.04406, eq. 9) is the penalty.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fewstep.core.paths import AffinePath

Judge = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``judge(x_r, r, x_t) -> scores``, of any shape [batch, ...]; larger is more real."""


def posterior(
    path: AffinePath, x: Tensor, x0: Tensor, t: Tensor, r: Tensor, eps: Tensor, *, y: Tensor | None = None
) -> Tensor:
    """A draw of q(x_r | x_t, x0): DDPM's step, for times [batch].

    Parameters
    ----------
    path
        The process.
    x, x0
        State at `t` and clean signal, [batch, ...].
    t, r
        [batch], r < t.
    eps
        Noise, shaped like `x`; 0 gives the mean.
    y
        Degraded end, shaped like `x`; None is 0.

    Returns
    -------
    Tensor
        State at `r`.
    """
    a, b, s = path.broadcast(path.coefficients(t), x)
    a_r, b_r, s_r = path.broadcast(path.coefficients(r), x)
    rho = (a / a_r) * (s_r / s).square()
    fresh = (s_r.square() - (rho * s).square()).clamp(min=0).sqrt()
    x_r = a_r * x0 + rho * (x - a * x0) + fresh * eps
    return x_r if y is None else x_r + (b_r - rho * b) * y


def generator_loss(scores: Tensor) -> Tensor:
    """softplus(−D(fake)): [batch, ...] -> [batch]."""
    return F.softplus(-scores).flatten(1).mean(dim=1) if scores.ndim > 1 else F.softplus(-scores)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(−D(real)) + softplus(D(fake)): two of [batch, ...] -> [batch]."""
    return generator_loss(real) + generator_loss(-fake)


def gradient_penalty(judge: Judge, x_r: Tensor, r: Tensor, x: Tensor, *, gamma: float) -> Tensor:
    """R1: gamma/2 |∂D/∂x_r|² at real pairs, [batch], differentiable.

    Parameters
    ----------
    judge
        The discriminator.
    x_r, x
        Real states at `r` and at the time before, [batch, ...].
    r
        [batch].
    gamma
        Weight.

    Returns
    -------
    Tensor
        [batch].
    """
    x_r = x_r.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(judge(x_r, r, x).sum(), x_r, create_graph=True)
    return gamma / 2 * slope.square().flatten(1).sum(dim=1)
