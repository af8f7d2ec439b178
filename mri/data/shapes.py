"""Pictures of no anatomy: stacked soft ellipses and boxes, or warped Voronoi tissue with dark septa, with textures.

They keep a prior from believing that every scan is a head (Hoffmann et al. 2022, arXiv:2004.10282, for the idea).
"""

import numpy as np
from scipy.spatial import cKDTree

from fewstep.mri.data.fields import Array, smooth_field, step_up, warped_grid


def draw(rng: np.random.Generator, size: int) -> Array:
    """One picture of shapes or of Voronoi tissue.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Rows and columns.

    Returns
    -------
    numpy.ndarray
        Magnitude, float32, [size, size], about 0 to 1.
    """
    return (stacked if rng.random() < 0.45 else voronoi)(rng, size)


def stacked(rng: np.random.Generator, size: int) -> Array:
    """A body with 4 to 30 soft ellipses, boxes and stripes on it; arguments as for `draw`."""
    grid = warped_grid(rng, size, amplitude=rng.uniform(0, 3))
    picture = np.zeros((size, size), np.float32)
    if rng.random() < 0.7:
        picture += rng.uniform(0.2, 1) * _blob(rng, grid, low=0.3, high=0.48, square=rng.random() < 0.2, about=0.05)
    for _ in range(int(rng.integers(4, 30))):
        blob = _blob(rng, grid, low=0.01, high=0.16, square=rng.random() < 0.35, about=0.3)
        value = rng.uniform(0.0, 1.0)
        if rng.random() < 0.15:
            value = value * (0.5 + 0.5 * np.sign(np.sin(grid[0] * rng.uniform(0.3, 2.0) + rng.uniform(0, 6))))
        picture += blob * (value - picture)
    return picture


def voronoi(rng: np.random.Generator, size: int) -> Array:
    """Cells of random grey with dark or bright walls inside one outline; arguments as for `draw`."""
    picture = tissue(rng, size)
    if rng.random() < 0.8:
        grid = warped_grid(rng, size, amplitude=rng.uniform(1, 6))
        picture = picture * _blob(rng, grid, low=0.3, high=0.5, square=False, about=0.05)
    return picture


def tissue(rng: np.random.Generator, size: int) -> Array:
    """Voronoi cells that fill the plane, with walls and a texture; arguments as for `draw`."""
    grid = warped_grid(rng, size, amplitude=rng.uniform(1, 5), cells=int(rng.integers(3, 10)))
    count = int(rng.integers(8, 90))
    centres = rng.uniform(-0.55 * size, 0.55 * size, (count, 2))
    distances, which = cKDTree(centres).query(grid.reshape(2, -1).T, k=2)
    values = rng.uniform(0.05, 1, count).astype(np.float32)
    picture = values[which[:, 0]].reshape(size, size)
    wall = step_up((distances[:, 1] - distances[:, 0]).reshape(size, size).astype(np.float32) - rng.uniform(0, 4))
    picture = picture * wall + rng.choice([0.02, 0.1, 0.9]) * (1 - wall)
    texture = smooth_field(rng, size, cells=int(rng.integers(size // 8, size // 2)))
    return np.clip(picture * (1 + rng.uniform(0, 0.15) * texture), 0, None).astype(np.float32)


def _blob(rng: np.random.Generator, grid: Array, *, low: float, high: float, square: bool, about: float) -> Array:
    size = grid.shape[1]
    centre, half = rng.uniform(-about, about, 2) * size, rng.uniform(low, high, 2) * size
    angle = rng.uniform(0, np.pi)
    row, column = grid[0] - centre[0], grid[1] - centre[1]
    u = (np.cos(angle) * row + np.sin(angle) * column) / half[0]
    v = (np.cos(angle) * column - np.sin(angle) * row) / half[1]
    inside = 1 - (np.maximum(abs(u), abs(v)) if square else np.sqrt(u * u + v * v))
    return step_up(inside * half.min(), width=rng.uniform(0.8, 2.0))
