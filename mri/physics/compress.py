"""Fewer virtual coils: the strongest combinations by singular values. Buehrer et al. 2007, doi:10.1002/mrm.21237."""

from __future__ import annotations

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.physics.noise import combine


def compress(kspace: Tensor, coils: int) -> tuple[Tensor, float]:
    """Combine coils into fewer; orthonormal, so that white noise stays white.

    Parameters
    ----------
    kspace
        complex [..., coil, y, x]; one combination for all that is in front, from all its samples.
    coils
        How many to keep; no fewer than there are changes nothing.

    Returns
    -------
    kspace
        complex [..., coils, y, x], strongest first.
    kept
        Fraction of the energy that is left.

    Raises
    ------
    UsageError
        If `coils` is not positive.
    """
    if coils < 1:
        raise UsageError(f"expected at least one coil to compress to, got {coils}")
    if coils >= kspace.shape[-3]:
        return kspace, 1.0
    flat = kspace.movedim(-3, 0).flatten(1)
    values, vectors = torch.linalg.eigh(flat @ flat.mH)
    order = torch.arange(len(values) - 1, len(values) - 1 - coils, -1)
    kept = float(values[order].sum() / values.sum().clamp(min=1e-300))
    return combine(vectors[:, order].mH, kspace), kept
