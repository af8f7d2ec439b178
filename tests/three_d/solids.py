"""Grids of simple solids, for the tests of the room."""

import numpy as np


def axes(r=32):
    """Coordinates of the samples, each [r, r, r]."""
    line = (np.arange(r, dtype=np.float32) + 0.5) / r - 0.5
    return np.meshgrid(line, line, line, indexing="ij")


def ball(radius=0.35, r=32, at=(0, 0, 0)):
    x, y, z = axes(r)
    return np.sqrt((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) - radius


def box(half=(0.3, 0.2, 0.1), r=32, at=(0, 0, 0)):
    q = [np.abs(a - o) - h for a, o, h in zip(axes(r), at, half, strict=True)]
    outside = np.sqrt(sum(np.maximum(part, 0) ** 2 for part in q))
    return outside + np.minimum(np.maximum.reduce(q), 0)


def tint(r=32):
    """Red grows with x, green with y, blue with z."""
    return np.stack(axes(r), -1) + 0.5
