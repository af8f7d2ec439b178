"""What a conditional net is told of a measurement, as six real planes beside the state.

    [Re, Im of the CG-SENSE image, Re, Im of A.H y, log2 of the acceleration / 4, log10 of the noise / 2]

The last two are constant planes: how much is missing, and how noisy the rest is. Saharia et al. 2022, arXiv:2104.07636,
for conditions as channels; A.H y and the mask as conditions: arXiv:2510.06335.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fewstep.mri.problem import Slice

CHANNELS = 6


def condition(one: Slice) -> Tensor:
    """The condition of a slice.

    Parameters
    ----------
    one
        A slice in the unit of the priors.

    Returns
    -------
    Tensor
        float32 [1, 6, y, x].
    """
    problem = one.problem
    zero_filled = problem.A.H(problem.kspace)
    return planes(one.sense, zero_filled, acceleration=problem.acceleration, noise_std=problem.noise_std)


def planes(sense: Tensor, zero_filled: Tensor, *, acceleration: float, noise_std: float) -> Tensor:
    """Stack what `condition` has computed.

    Parameters
    ----------
    sense, zero_filled
        complex64 [batch, y, x].
    acceleration
        Samples of the grid per sample acquired.
    noise_std
        Of k-space samples, in units of the slice.

    Returns
    -------
    Tensor
        float32 [batch, 6, y, x].
    """
    told = (math.log2(max(acceleration, 1.0)) / 4, math.log10(max(noise_std, 1e-4)) / 2)
    flat = [torch.full_like(sense.real, value) for value in told]
    return torch.stack([sense.real, sense.imag, zero_filled.real, zero_filled.imag, *flat], 1)
