"""Noise of cameras, on pictures in [-1, 1]; sigmas in levels of 255, as papers state them.

Gaussian: x + sigma eps;   Poisson: counts / gain of the picture in [0, 1], doubled; gray: one plane for all channels
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(low_high: float | Sequence[float], generator: torch.Generator) -> float:
    """A number, or a uniform draw between two.

    Parameters
    ----------
    low_high
        One number, or the two ends.
    generator
        On the CPU.
    """
    if not isinstance(low_high, Sequence):
        return float(low_high)
    low, high = low_high
    return float(low + (high - low) * torch.rand((), generator=generator))


def gaussian(
    x: Tensor, generator: torch.Generator, *, sigma: float | Sequence[float] = 25.0, gray: float = 0.0
) -> Tensor:
    """White Gaussian noise.

    Parameters
    ----------
    x
        [3, rows, columns] in [-1, 1].
    generator
        On the CPU.
    sigma
        Standard deviation in levels of 255, or its range.
    gray
        Probability that all channels get the same noise.

    Returns
    -------
    Tensor
        Shaped like `x`, not clamped.
    """
    level = uniform(sigma, generator) / 127.5
    shape = (1, *x.shape[1:]) if torch.rand((), generator=generator) < gray else x.shape
    return x + level * torch.randn(shape, generator=generator, dtype=x.dtype)


def poisson(
    x: Tensor, generator: torch.Generator, *, scale: float | Sequence[float] = 1.0, gray: float = 0.0
) -> Tensor:
    """Photon noise: variance `scale` times the signal, at 255 photons for white.

    Parameters
    ----------
    x
        [3, rows, columns] in [-1, 1].
    generator
        On the CPU.
    scale
        Multiplies the noise, or its range.
    gray
        Probability that the noise is that of the luminance, in all channels.

    Returns
    -------
    Tensor
        Shaped like `x`, not clamped.
    """
    signal = ((x + 1) / 2).clamp(0, 1)
    if torch.rand((), generator=generator) < gray:
        signal = signal.mean(0, keepdim=True)
    noise = torch.poisson(signal * 255, generator=generator) / 255 - signal
    return x + 2 * uniform(scale, generator) * noise
