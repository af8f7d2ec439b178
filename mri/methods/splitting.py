"""ADMM with a denoiser as the proximal step of the prior, conjugate gradients as that of the data.

    v = rho x + (1 − rho) z;   z <- D(v + u + share s n, s);   u <- u + v − z
    x <- argmin |A x − y|² / sigma_y² + |x − (z − u)|² / r_s²

Venkatakrishnan et al. 2013, doi:10.1109/GlobalSIP.2013.6737048; with consistency models: arXiv:2509.22736; rho above 1
is the over-relaxation of Eckstein & Bertsekas 1992, doi:10.1007/BF01581204. It carries two states, so that it is no
table of coefficients; each row is a call of the same ``denoise(x, t)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from fewstep.core import nfe, rng
from fewstep.core.consistency.spread import variance
from fewstep.core.operators import conjugate_gradient
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise
from fewstep.mri.problem import Slice


def admm(
    denoise: Denoise,
    one: Slice,
    path: AffinePath,
    x: Tensor,
    *,
    sigmas: Sequence[float],
    sigma_y: float,
    sigma_data: float,
    floor: float,
    iterations: int,
    relaxation: float = 1.0,
    momentum: float = 0.0,
    noise_share: float = 0.0,
    seeds: Sequence[int] = (),
    grad: bool = False,
) -> tuple[Tensor, int]:
    """Follow a list of noise levels.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``.
    one
        The slice.
    path
        The prior's process, with t = sigma.
    x
        Where to start, complex64 [sample, y, x].
    sigmas
        Noise levels that the denoiser is told, one call each.
    sigma_y
        The measurement's noise.
    sigma_data, floor
        Of r_s, the denoiser's error at a noise level; see `fewstep.core.consistency.dds`.
    iterations
        Of conjugate gradients in each row.
    relaxation
        rho, in (0, 2); 1 is plain.
    momentum
        Of z.
    noise_share
        Part of s that is put in as fresh noise.
    seeds
        One per sample, if there is noise.
    grad
        Keep the graph for gradients; otherwise everything runs in inference mode.

    Returns
    -------
    x : Tensor
        [sample, y, x].
    calls : int
        Of the denoiser, per sample.
    """
    normal, back = one.problem.A.N, one.problem.A.H(one.problem.kspace)
    streams = rng.seeded(list(seeds))
    u, z, before = torch.zeros_like(x), x, x
    with nullcontext() if grad else torch.inference_mode(), nfe.count() as counter:
        for sigma in sigmas:
            t = torch.tensor(sigma, device=x.device)
            v = x if relaxation == 1 else torch.lerp(z, x, relaxation)
            state = v + u
            if noise_share > 0:
                state = state + noise_share * sigma * rng.normal(x.shape, streams, x.dtype).to(x.device)
            z = nfe.call(denoise, state, t)
            z, before = z + momentum * (z - before), z
            u = u + v - z
            damping = sigma_y**2 / variance(path, t, sigma_data=sigma_data, floor=floor)
            goal = z - u
            missing = back - normal.apply(goal)
            x = goal + conjugate_gradient(normal, missing, iterations=iterations, damping=damping).x
    return x.clone(), counter.calls
