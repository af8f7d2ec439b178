"""Coil maps for simulations: line currents on a circle around the field of view, c(z) ~ 1 / (z − z_coil)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fewstep.core.errors import UsageError


def birdcage(
    coils: int, shape: tuple[int, int], *, radius: float = 1.5, turn: float = 0.0, dtype: torch.dtype = torch.complex64
) -> Tensor:
    """Maps of equal coils on a circle.

    Parameters
    ----------
    coils
        How many.
    shape
        (y, x).
    radius
        Of the circle, in halves of the field of view; above 1.42 all coils are outside of the picture.
    turn
        Angle of the first coil, radians.
    dtype
        complex64 or complex128.

    Returns
    -------
    Tensor
        complex [coil, y, x], unit norm over coils.

    Raises
    ------
    UsageError
        If there is no coil, or the radius is not above 1.42.
    """
    if coils < 1 or radius <= math.sqrt(2):
        raise UsageError(f"expected at least one coil and a radius above 1.42, got {coils} and {radius}")
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape)
    z = torch.complex(*torch.broadcast_tensors(x[None, :], y[:, None]))
    angles = turn + 2 * math.pi * torch.arange(coils, dtype=torch.float64) / coils
    at = torch.polar(torch.ones_like(angles), angles)[:, None, None]
    maps = at / (z - radius * at)
    return (maps / torch.linalg.vector_norm(maps, dim=0, keepdim=True)).to(dtype)
