"""Noise of a receiver: its covariance, whitening of the coils by Cholesky, and its level from the border of k-space.

With noise covariance Psi = L L^H, the coils L^-1 k have independent noise of variance 1. Kellman & McVeigh 2005,
doi:10.1002/mrm.20713. A noise_std here is sqrt(E|n|²) of complex samples: sqrt(2) times that of the real part.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fewstep.core.errors import UsageError


def whitening(noise: Tensor) -> Tensor:
    """The matrix that makes the noise of the coils independent and of variance 1.

    Parameters
    ----------
    noise
        Samples without signal, complex [coil, n].

    Returns
    -------
    Tensor
        complex [coil, coil], lower triangular.

    Raises
    ------
    UsageError
        If there are not more samples than coils, or a coil has no noise, or two coils are the same.
    """
    coils, n = noise.shape
    if n <= coils:
        raise UsageError(f"expected more noise samples than coils, got {n} of {coils} coils")
    samples = noise.to(torch.complex128)
    covariance = samples @ samples.mH / n
    strength = covariance.diagonal().real
    dead = [i for i in range(coils) if strength[i] <= 1e-12 * strength.max()]
    if dead or not float(strength.max()) > 0:
        raise UsageError(f"expected noise in every coil, found none in coil {dead or 'any'}: leave such coils out")
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed):
        raise UsageError("expected coils with independent noise, got a singular covariance: two coils are the same")
    eye = torch.eye(coils, dtype=torch.complex128)
    return torch.linalg.solve_triangular(factor, eye, upper=False).to(noise.dtype)


def combine(matrix: Tensor, kspace: Tensor) -> Tensor:
    """New coils from old ones, matrix @ coils.

    Parameters
    ----------
    matrix
        complex [new, coil].
    kspace
        complex [..., coil, y, x].

    Returns
    -------
    Tensor
        complex [..., new, y, x].
    """
    return torch.einsum("nc,...cyx->...nyx", matrix.to(kspace), kspace)


def noise_std(kspace: Tensor, mask: Tensor, *, border: float = 0.1) -> float:
    """Noise level from the samples farthest from the centre, where there is next to no signal.

    Parameters
    ----------
    kspace
        complex [..., coil, y, x], whitened or with equal noise in all coils.
    mask
        bool, broadcasts to [y, x], or to [..., y, x] without the coils: what was sampled.
    border
        Fraction of the samples that count as border.

    Returns
    -------
    float
        sqrt(E|n|²) of a sample, from the median of |k|, which is sqrt(ln 2) of it; somewhat too large where the
        border holds signal.

    Raises
    ------
    UsageError
        If nothing was sampled.
    """
    height, width = kspace.shape[-2:]
    sampled = mask.expand(*mask.shape[:-2], height, width)
    sampled = sampled.flatten(0, -3).any(0) if sampled.ndim > 2 else sampled
    y, x = ((torch.arange(n) - n // 2).abs() / max(1, n // 2) for n in (height, width))
    distance = torch.maximum(y[:, None], x[None, :]).to(kspace.device)
    if not bool(sampled.any()):
        raise UsageError("expected sampled k-space, got a mask without a sample")
    level = torch.quantile(distance[sampled].float()[:: max(1, sampled.numel() // 10**6)], 1 - border)
    values = kspace[..., sampled & (distance >= level)].abs().flatten()
    values = values[values > 0]
    return float(values.median()) / math.sqrt(math.log(2)) if len(values) else 0.0
