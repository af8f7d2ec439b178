"""Winding numbers: how often a surface goes round a point, also where it has holes or overlaps itself.

w(p) = 1/4π Σ Ω_t(p)   over triangles, Ω their solid angles (Jacobson et al. 2013, doi:10.1145/2461912.2461916; Ω
after Van Oosterom and Strackee 1983). Points are taken block by block: near triangles are summed as they are, the field
of the far ones, smooth within a block, is interpolated from its corners (the idea of Barill et al. 2018).
"""

from __future__ import annotations

import numpy as np

BLOCK, FEW, PAIRS = 1 / 16, 24, 1 << 21


def winding_numbers(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Winding numbers of points.

    Parameters
    ----------
    points
        float [n, 3].
    triangles
        Corners, float [t, 3, 3], counter-clockwise as seen from outside, within about a unit cube.

    Returns
    -------
    numpy.ndarray
        float32 [n]: 1 inside a closed surface, 0 outside, in between where it is open; right to about 0.02.
    """
    points = np.asarray(points, np.float32)
    triangles = np.asarray(triangles, np.float32)
    cells = np.floor(points / BLOCK).astype(np.int64)
    unique, which, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    found = np.zeros(len(points), np.float32)
    alone = np.flatnonzero((counts < FEW)[which])
    found[alone] = direct(points[alone], triangles)
    many = np.flatnonzero(counts >= FEW)
    if not len(many):
        return found
    order = np.argsort(which, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    corners = np.stack(np.meshgrid(*[[0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    knots, at = np.unique((unique[many][:, None] + corners).reshape(-1, 3), axis=0, return_inverse=True)
    whole = direct((knots * BLOCK).astype(np.float32), triangles)[at.reshape(-1, 8)]
    low, high = triangles.min(1), triangles.max(1)
    for number, block in enumerate(many):
        rows = order[starts[block] : starts[block + 1]]
        base = (unique[block] * BLOCK).astype(np.float32)
        near = ((high >= base - BLOCK) & (low <= base + 2 * BLOCK)).all(1)
        asked = np.concatenate([points[rows], base + corners.astype(np.float32) * np.float32(BLOCK)])
        close = direct(asked, triangles[near])
        far = whole[number] - close[-8:]
        share = (points[rows] - base) / np.float32(BLOCK)
        weights = np.where(corners.astype(bool), share[:, None], 1 - share[:, None]).prod(2)
        found[rows] = close[:-8] + weights @ far
    return found


def direct(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The same from the definition, all points with all triangles."""
    found = np.zeros(len(points), np.float32)
    if not len(triangles):
        return found
    corners, index = np.unique(triangles.reshape(-1, 3), axis=0, return_inverse=True)
    index = index.reshape(-1, 3)
    a, b, c = (triangles[:, k].astype(np.float64) for k in range(3))
    sides = [np.square(x - y).sum(1).astype(np.float32) for x, y in ((a, b), (b, c), (c, a))]
    normal = np.cross(a, b) + np.cross(b, c) + np.cross(c, a)
    volume = np.einsum("ij,ij->i", a, np.cross(b, c))
    step = max(1, PAIRS // len(triangles))
    for first in range(0, len(points), step):
        p = points[first : first + step]
        square = sum(np.square(p[:, None, k] - corners[None, :, k]) for k in range(3))
        length = np.sqrt(square)
        s = [np.take(square, index[:, k], 1) for k in range(3)]
        d = [np.take(length, index[:, k], 1) for k in range(3)]
        det = (volume - p.astype(np.float64) @ normal.T).astype(np.float32)
        under = d[0] * d[1] * d[2]
        for k in range(3):  # 2 (a · b) = |a|² + |b|² − |a − b|²
            under += 0.5 * (s[k] + s[(k + 1) % 3] - sides[k]) * d[(k + 2) % 3]
        found[first : first + step] = np.arctan2(det, under).sum(1) / np.float32(2 * np.pi)
    return found


__all__ = ["direct", "winding_numbers"]
