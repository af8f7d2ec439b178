"""A simulated acquisition: an image seen by coils, transformed, given noise, and sampled by a mask.

y = mask (F S x + n)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fewstep.core.operators import Fourier
from fewstep.mri.data import fields
from fewstep.mri.physics import birdcage


def acquire(image: Tensor, coil_maps: Tensor, *, noise_std: float, generator: torch.Generator) -> Tensor:
    """Fully sampled k-space of a slice.

    Parameters
    ----------
    image
        complex64 [y, x].
    coil_maps
        complex64 [coil, y, x].
    noise_std
        sqrt(E|n|²) of a sample.
    generator
        Of the noise.

    Returns
    -------
    Tensor
        complex64 [coil, y, x], centred.
    """
    seen = coil_maps * image
    kspace = Fourier(tuple(seen.shape), (-2, -1)).apply(seen)
    noise = torch.randn(kspace.shape, generator=generator, dtype=kspace.dtype)
    return kspace + noise_std * noise


def coils(rng: np.random.Generator, shape: tuple[int, int], count: int) -> Tensor:
    """Maps of a random birdcage, each coil with a gain and a smooth error of its own; unit norm over coils.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (y, x).
    count
        How many coils; 1 gives ones.

    Returns
    -------
    Tensor
        complex64 [count, y, x].
    """
    if count == 1:
        return torch.ones(1, *shape, dtype=torch.complex64)
    maps = birdcage(count, shape, radius=float(rng.uniform(1.42, 2.2)) + 0.01, turn=float(rng.uniform(0, 2 * np.pi)))
    size = max(shape)
    for i in range(count):
        gain, error = rng.uniform(0.5, 1.5), 0.15 * fields.smooth_field(rng, size, cells=3)[: shape[0], : shape[1]]
        turn = 0.3 * fields.smooth_field(rng, size, cells=3)[: shape[0], : shape[1]]
        maps[i] *= torch.from_numpy((gain * np.exp(error + 1j * turn)).astype(np.complex64))
    return maps / torch.linalg.vector_norm(maps, dim=0, keepdim=True)
