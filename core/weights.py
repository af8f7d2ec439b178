"""A tableau made ready for the loop: written in x instead of u, with the history where the ring keeps it.

With H_i = G_i / scale_i kept in slot i mod depth, and y, if there is one, in a last slot of its own,

    x_{i+1} = state_i x_i + sum_k slots_ik ring_k + noise_i eps_i

so that the state of every path, with y or without, is one combination of what lies in memory.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.tableau import Tableau

_MOST = 64.0
"""How many times its first weight an element may weigh later and still be a unit; more would lose half precision."""


@dataclass(frozen=True)
class Weights:
    """Numbers of the loop, float64.

    Parameters
    ----------
    depth
        Slots of history, at least 1.
    state, noise
        [rows].
    slots
        [rows, depth], with y [rows, depth + 1].
    element
        H_i in terms of x_i, D_i and H_{i−1}, [rows, 3]; one of the first two is 1, unless H_i is only a multiple of D_i
        whose weight in its own row is then 1.
    """

    depth: int
    state: Array
    noise: Array
    slots: Array
    element: Array


def weights(table: Tableau, *, with_y: bool, unit: bool = False) -> Weights:
    """Arrange a table for the loop.

    Parameters
    ----------
    table
        Any.
    with_y
        Whether the path ends at a y that is not 0.
    unit
        Give the newest element weight 1 in its row where it is a multiple of D_i, so that one pass moves x and adds it.

    Returns
    -------
    Weights
    """
    rows, width = table.history.shape
    depth = max(width, 2 if table.mix[:, 2].any() else 1)
    scale = _scale(table, unit)
    element = table.mix / scale[:, None]
    element[1:, 2] *= scale[:-1]
    known, at, slot = _places(rows, width, depth)
    weight = table.history.reshape(-1)
    scaled = weight * scale[at]
    scaled[abs(scaled - 1) < 1e-14] = 1.0
    ring = np.zeros(rows * (depth + with_y))
    first = np.repeat(np.arange(rows) * (depth + with_y), width)
    ring[(first + slot)[known]] = scaled[known]
    slots = ring.reshape(rows, -1)
    if with_y:
        of_y = (weight * _of_y(table)[at] * known).reshape(rows, width).sum(1)
        slots[:, depth] = table.b[1:] - table.state * table.b[:-1] + of_y
    return Weights(depth, table.state, table.noise, slots, element)


@lru_cache(64)
def _places(rows: int, width: int, depth: int) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Whether a weight of the table belongs to an element that there is, to which, and in which slot it lies; flat."""
    at = (np.arange(rows)[:, None] - np.arange(width)).reshape(-1)
    return at >= 0, at.clip(min=0), at % depth


def _scale(table: Tableau, unit: bool) -> Array:
    """G_i / H_i."""
    of_x, of_denoised, _ = table.mix.T
    scale = np.where(np.abs(of_x) > np.abs(of_denoised), of_x, of_denoised)
    scale = np.where(scale == 0, 1.0, scale)
    if unit and not table.mix[:, 2].any():
        newest = np.abs(table.history[:, 0])
        later = np.zeros_like(newest)
        for j in range(1, min(table.history.shape)):
            later[:-j] = np.maximum(later[:-j], np.abs(table.history[j:, j]))
        apt = (of_x == 0) & (newest > 0) & (later <= _MOST * newest)
        scale = np.where(apt, 1 / np.where(apt, table.history[:, 0], 1.0), scale)
    return scale


def _of_y(table: Tableau) -> Array:
    """What G_i has of y once u_i is written as x_i − b_i y."""
    of_y = -table.mix[:, 0] * table.b[:-1]
    if table.mix[:, 2].any():
        for i in range(1, len(of_y)):
            of_y[i] += table.mix[i, 2] * of_y[i - 1]
    return of_y
