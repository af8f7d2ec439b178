"""Chamfer distances between sets of points, one by one or all pairs at once.

CD(A, B) = mean_a min_b |a − b|² + mean_b min_a |a − b|²   (Achlioptas et al. 2018, arXiv:1707.02392; as means)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError


def chamfer(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two sets of points, in squared units.

    Parameters
    ----------
    a, b
        [n, 3], [m, 3].

    Returns
    -------
    float

    Raises
    ------
    UsageError
        If a set is empty or not of points.
    """
    first, second = _points([a])[0], _points([b])[0]
    return float(_pairs(first[None], second[None])[0])


def chamfer_matrix(
    a: Sequence[np.ndarray], b: Sequence[np.ndarray] | None = None, *, elements: int = 1 << 18
) -> np.ndarray:
    """Distances of all pairs of two lists of sets of points.

    Parameters
    ----------
    a, b
        Sets [n, 3], all with the same number of points within a list; b None: a against itself.
    elements
        Point pairs in memory at once.

    Returns
    -------
    numpy.ndarray
        float32 [len(a), len(b)].

    Raises
    ------
    UsageError
        If a set is empty or not of points, or the sets of a list differ in number.
    """
    first = _stacked(a)
    second = first if b is None else _stacked(b)
    step = max(1, elements // (first.shape[1] * second.shape[1]))
    found = np.zeros((len(first), len(second)), np.float32)
    for i, one in enumerate(first):
        start = i + 1 if b is None else 0
        for at in range(start, len(second), step):
            many = second[at : at + step]
            found[i, at : at + len(many)] = _pairs(one[None].expand(len(many), -1, -1), many).numpy()
    return found + found.T if b is None else found


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    """[k, n, 3] and [k, m, 3] -> [k]; |a − b|² as |a|² + |b|² − 2 a·b, around the origin, in float32."""
    square = torch.baddbmm(a.square().sum(2)[:, :, None] + b.square().sum(2)[:, None], a, b.transpose(1, 2), alpha=-2)
    return square.amin(2).clamp_min(0).mean(1) + square.amin(1).clamp_min(0).mean(1)


def _stacked(sets: Sequence[np.ndarray]) -> Tensor:
    found = _points(sets)
    if len({len(points) for points in found}) != 1:
        raise UsageError("expected the same number of points in each set of a list")
    return torch.stack(found)


def _points(sets: Sequence[np.ndarray]) -> list[Tensor]:
    if not len(sets):
        raise UsageError("expected at least one set of points")
    for points in sets:
        if np.ndim(points) != 2 or np.shape(points)[1] != 3 or not len(points):
            raise UsageError(f"expected points [n, 3] with n >= 1, got {list(np.shape(points))}")
    return [torch.from_numpy(np.ascontiguousarray(points, np.float32)) for points in sets]
