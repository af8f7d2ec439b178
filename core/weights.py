"""A tableau made ready for the loop: written in x instead of u, with the history where the ring keeps it.

With H_i = G_i / scale_i kept in slot i mod depth, and y, if there is one, in a last slot of its own,

    x_{i+1} = state_i x_i + sum_k slots_ik ring_k + noise_i eps_i

so that the state of every path, with y or without, is one combination of what lies in memory.
"""

from dataclasses import dataclass

import numpy as np

from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.tableau import Tableau


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
        H_i in terms of x_i, D_i and H_{i−1}, [rows, 3]; the larger of the first two is 1.
    """

    depth: int
    state: Array
    noise: Array
    slots: Array
    element: Array


def weights(table: Tableau, *, with_y: bool) -> Weights:
    """Arrange a table for the loop.

    Parameters
    ----------
    table
        Any.
    with_y
        Whether the path ends at a y that is not 0.

    Returns
    -------
    Weights
    """
    rows, width = table.history.shape
    depth = max(width, 2 if table.mix[:, 2].any() else 1)
    scale = np.where(np.abs(table.mix[:, 0]) > np.abs(table.mix[:, 1]), table.mix[:, 0], table.mix[:, 1])
    scale = np.where(scale == 0, 1.0, scale)
    element = table.mix / scale[:, None]
    element[1:, 2] *= scale[:-1]
    behind = np.arange(rows)[:, None] - np.arange(width)
    row, column = np.nonzero((behind >= 0) & (table.history != 0))
    at, weight = behind[row, column], table.history[row, column]
    slots = np.zeros((rows, depth + with_y))
    slots[row, at % depth] = weight * scale[at]
    if with_y:
        slots[:, depth] = table.b[1:] - table.state * table.b[:-1]
        np.add.at(slots, (row, depth), weight * _of_y(table)[at])
    return Weights(depth, table.state, table.noise, slots, element)


def _of_y(table: Tableau) -> Array:
    """What G_i has of y once u_i is written as x_i − b_i y."""
    of_y = -table.mix[:, 0] * table.b[:-1]
    if table.mix[:, 2].any():
        for i in range(1, len(of_y)):
            of_y[i] += table.mix[i, 2] * of_y[i - 1]
    return of_y
