"""Random smooth fields, complex phase and soft edges that generated pictures are made of; numpy, one plane each.

A smooth field is a coarse grid of N(0, 1) numbers, enlarged by cubic splines to unit standard deviation.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]


def smooth_field(rng: np.random.Generator, size: int, *, cells: int) -> Array:
    """A random field of zero mean and unit standard deviation.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Rows and columns.
    cells
        About how many bumps fit along a side.

    Returns
    -------
    numpy.ndarray
        Float32, [size, size].
    """
    coarse = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    start = rng.uniform(0.5, 1.5, 2)
    at = [np.linspace(0, cells, size, dtype=np.float32) + s for s in start]
    field = ndimage.map_coordinates(coarse, np.meshgrid(*at, indexing="ij"), order=3, mode="nearest")
    return ((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32)


def warped_grid(rng: np.random.Generator, size: int, *, amplitude: float, cells: int = 4) -> Array:
    """Rows and columns of every pixel about the centre, moved by an elastic field.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Rows and columns.
    amplitude
        Standard deviation of the movement, in pixels.
    cells
        Bumps of the movement along a side.

    Returns
    -------
    numpy.ndarray
        Float32, [2, size, size], in pixels.
    """
    axis = np.arange(size, dtype=np.float32) - size // 2
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"))
    return grid + amplitude * np.stack([smooth_field(rng, size, cells=cells) for _ in range(2)])


def step_up(x: Array, *, width: float = 1.0) -> Array:
    """0 where x is below −width/2, 1 above width/2, straight in between: an edge with partial volume."""
    return np.clip(x / width + 0.5, 0, 1)


def phase(rng: np.random.Generator, size: int) -> Array:
    """A smooth phase: constant, linear, quadratic and random parts; in 15 of 100 draws 0 everywhere.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Rows and columns.

    Returns
    -------
    numpy.ndarray
        Float32, [size, size], in radians.
    """
    if rng.random() < 0.15:
        return np.zeros((size, size), np.float32)
    u = np.linspace(-1, 1, size, dtype=np.float32)
    row, column = u[:, None], u[None, :]
    linear, square = rng.uniform(-2.5, 2.5, 2), rng.uniform(-1.0, 1.0, 3)
    smooth = linear[0] * row + linear[1] * column
    smooth = smooth + square[0] * row**2 + square[1] * column**2 + square[2] * row * column
    field = rng.uniform(0, 0.8) * smooth_field(rng, size, cells=int(rng.integers(2, 6)))
    return (rng.uniform(-np.pi, np.pi) + smooth + field).astype(np.float32)
