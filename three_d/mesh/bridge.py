"""Loose parts joined: where something thin has broken, a short rod closes the gap before the surface is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.lattice import Field
from fewstep.three_d.mesh.clean import SHARE

GAP = 0.27
"""Widest gap that is closed, as a part of the grid's side: what a table whose leg was left out needs."""
LEAST = 0.1
"""Parts with less than this of a crumb's volume are never joined."""
RADIUS = 1.5
"""Of the rods, in samples."""


def bridged(field: Field, *, unit: float, gap: float = GAP, share: float = SHARE) -> tuple[Field, int]:
    """Join parts that a narrow gap keeps from the largest one.

    Parameters
    ----------
    field
        What was decoded.
    unit
        Samples in a distance of 1.
    gap
        Widest gap to close, as a part of the side; 0 joins nothing.
    share
        Of the volume. Parts with less are crumbs: gaps to them are closed up to as much less as they are narrower (the
        third root of their volume), and from a tenth of it on.

    Returns
    -------
    field : Field
        With a rod of radius 1.5 samples across each such gap, in the colours of its ends.
    joined : int
        Number of rods.

    Raises
    ------
    UsageError
        If `gap` is negative or `share` is not from 0 to 1.
    """
    from scipy.ndimage import label
    from scipy.spatial import cKDTree

    if gap < 0 or not 0 <= share <= 1:
        raise UsageError(f"expected a gap of at least 0 and a share from 0 to 1, got {gap} and {share}")
    parts, n = label(field.sdf < 0)
    if n < 2 or gap == 0:
        return field, 0
    sizes = np.bincount(parts.ravel())[1:]
    crumb = max(share * sizes.sum(), 1.0)
    order = [k + 1 for k in np.argsort(-sizes, kind="stable") if sizes[k] >= LEAST * crumb]
    widest = {k: gap * len(field.sdf) * min(1.0, (sizes[k - 1] / crumb) ** (1 / 3)) for k in order}
    loose = {k: np.argwhere(parts == k) for k in order[1:]}
    whole, sdf, colour = np.argwhere(parts == order[0]), field.sdf.copy(), field.colour.copy()
    joined, tree = 0, cKDTree(whole)
    while loose:
        near = {k: tree.query(points) for k, points in loose.items()}
        far = {k: float(one[0].min()) for k, one in near.items()}
        within = [k for k in far if far[k] - 1 <= widest[k]]  # neighbours without any gap are 1 apart
        if not within:
            break
        k = min(within, key=far.__getitem__)
        i = int(near[k][0].argmin())
        _rod(sdf, colour, whole[near[k][1][i]], loose[k][i], unit)
        whole = np.concatenate([whole, loose.pop(k)])
        joined, tree = joined + 1, cKDTree(whole)
    return replace(field, sdf=sdf, colour=colour), joined


def _rod(sdf: np.ndarray, colour: np.ndarray, a: np.ndarray, b: np.ndarray, unit: float) -> None:
    """Unite a rod from sample a to sample b with the solid, in place."""
    reach = int(np.ceil(RADIUS + unit)) + 1
    low, high = np.maximum(np.minimum(a, b) - reach, 0), np.minimum(np.maximum(a, b) + reach + 1, len(sdf))
    box = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    at = np.stack(np.meshgrid(*[np.arange(*ends) for ends in zip(low, high, strict=True)], indexing="ij"), -1)
    along = (b - a).astype(float)
    part = np.clip(((at - a) @ along) / max(float(along @ along), 1e-9), 0, 1)
    far = np.linalg.norm(at - a - part[..., None] * along, axis=-1)
    rod = ((far - RADIUS) / unit).astype(np.float32)
    ends = colour[tuple(a)], colour[tuple(b)]
    new = (rod < sdf[box]) & (rod < 0.5 / unit)
    colour[box][new] = np.where(part[..., None] < 0.5, *ends)[new]
    sdf[box] = np.minimum(sdf[box], rod)


__all__ = ["GAP", "RADIUS", "bridged"]
