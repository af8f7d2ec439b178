"""Coil maps and image in turns: where there are few calibration lines, an image fills in those that are missing.

    k = y where measured, F S x elsewhere;    S <- maps(k) from as many lines as one likes

As in joint estimation (Ying & Sheng 2007, doi:10.1002/mrm.21245), with ESPIRiT for the maps and any method for x.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fewstep.core.operators import Fourier
from fewstep.mri.physics import estimate_maps
from fewstep.mri.problem import Problem


def refined(problem: Problem, image: Tensor) -> Problem:
    """The problem with coil maps estimated anew.

    Parameters
    ----------
    problem
        A batch, with first coil maps.
    image
        What they gave, complex64 [batch, y, x].

    Returns
    -------
    Problem
        Equal but for its coil maps.
    """
    whole = Fourier(tuple(problem.kspace.shape[1:]), (-2, -1))
    guessed = whole.apply(problem.coil_maps * image.unsqueeze(1))
    mask = problem.mask.unsqueeze(-3) if problem.mask.ndim == 3 else problem.mask
    filled = torch.where(mask, problem.kspace, guessed)
    found = estimate_maps(filled, torch.ones(1, 1, dtype=torch.bool, device=filled.device))
    return replace(problem, coil_maps=found.maps)
