"""What is counted of one mesh or of two solids: intersection over union, points on the surface."""

from __future__ import annotations

from typing import Any

import numpy as np

from fewstep.core.errors import UsageError


def occupancy_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two occupancies.

    Parameters
    ----------
    a, b
        bool, of one shape.

    Returns
    -------
    float
        1 if both are empty.

    Raises
    ------
    UsageError
        If the shapes differ, or the values are not bool.
    """
    if np.shape(a) != np.shape(b) or a.dtype != bool or b.dtype != bool:
        raise UsageError(f"expected two bool grids of one shape, got {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else 1.0


def surface_points(
    mesh: Any, n: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Points spread evenly over a mesh's surface.

    Parameters
    ----------
    mesh
        With ``vertices`` [V, 3], ``faces`` [F, 3] and ``colours`` uint8 [V, 3] or None.
    n
        How many.
    generator
        Of the draws.

    Returns
    -------
    points, normals : numpy.ndarray
        float32 [n, 3].
    colours : numpy.ndarray or None
        float32 [n, 3] in [0, 1], if the mesh has any.

    Raises
    ------
    UsageError
        If the mesh has no area.
    """
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normals = (
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) if len(corners) else np.zeros((0, 3))
    )
    size = np.linalg.norm(normals, axis=1)
    if not size.sum() > 0:
        raise UsageError("the mesh has no surface to draw points on")
    # one draw per even share of the area: less spread than independent draws
    place = (np.arange(n) + generator.random(n)) / n * size.sum()
    which = np.minimum(np.searchsorted(np.cumsum(size), place), len(size) - 1)
    u, v = generator.random((2, n, 1))
    root = np.sqrt(u)
    weights = (1 - root, root * (1 - v), root * v)
    points = sum(w * corners[which, k] for k, w in enumerate(weights))
    unit = normals[which] / np.maximum(size[which, None], 1e-30)
    colours = None
    if mesh.colours is not None:
        tint = mesh.colours[mesh.faces[which]].astype(np.float64) / 255
        colours = sum(w * tint[:, k] for k, w in enumerate(weights)).astype(np.float32)
    return points.astype(np.float32), unit.astype(np.float32), colours
