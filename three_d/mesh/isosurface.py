"""The zero level of a signed distance grid as a watertight mesh: marching cubes (Lorensen and Cline, 1987; the cases of
Lewiner et al., 2003) on a grid that is closed all around, with no sample on the surface, so that no face vanishes.
"""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh.mesh import Mesh, compact

NEAREST, FARTHEST = 5e-3, 4.0
"""Samples are moved this far from the surface at least, and cut off beyond that; 1 is the field's mean change over the
edges that the surface crosses, so that the unit of the distances does not matter."""

TRIES = 5
"""Where four samples of a face tie exactly, the cases of two cubes may disagree: then the field is moved a little."""


class EmptyShape(UsageError):
    """The field has no surface."""


def isosurface(sdf: np.ndarray, colour: np.ndarray | None = None) -> Mesh:
    """Turn a grid of distances into a mesh.

    Parameters
    ----------
    sdf
        [R, R, R], indexed [x, y, z], negative inside, in any unit; sample i lies at (i + 0.5) / R - 0.5.
    colour
        [R, R, R, 3], sRGB from 0 to 1; or None.

    Returns
    -------
    Mesh
        In [-0.5, 0.5]^3, faces outward, watertight, also where the solid touches the border of the grid.

    Raises
    ------
    UsageError
        If the grid is no cube of at least 2 samples a side, is not finite, or the colour has another shape.
    EmptyShape
        If nothing is inside.

    References
    ----------
    Lewiner, Lopes, Vieira and Tavares, Efficient implementation of marching cubes' cases with topological guarantees,
    Journal of Graphics Tools 8(2), 2003.
    """
    values = np.asarray(sdf, np.float32)
    if values.ndim != 3 or len(set(values.shape)) != 1 or values.shape[0] < 2:
        raise UsageError(f"expected distances on a cube [R, R, R] with R >= 2, got {list(np.shape(sdf))}")
    if not np.isfinite(values).all():
        raise UsageError("the distances must be finite, got NaN or infinity")
    if colour is not None and np.shape(colour) != (*values.shape, 3):
        raise UsageError(f"expected colours {[*values.shape, 3]}, got {list(np.shape(colour))}")
    if not (values < 0).any():
        raise EmptyShape("the shape is empty: no sample of the field is inside it")
    mesh = _marched(values)
    for attempt in range(1, TRIES):
        if mesh.watertight:
            break
        mesh = _marched(values, jitter=attempt * NEAREST / 10)
    if colour is None:
        return mesh
    tint = trilinear(np.asarray(colour, np.float32), mesh.vertices)
    return Mesh(mesh.vertices, mesh.faces, np.rint(np.clip(tint, 0, 1) * 255).astype(np.uint8))


def trilinear(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of a grid at points, linear between its samples; beyond the outermost samples it is constant.

    Parameters
    ----------
    grid
        [R, R, R] or [R, R, R, C], indexed [x, y, z].
    points
        [n, 3] in object space.

    Returns
    -------
    numpy.ndarray
        [n] or [n, C].
    """
    r = grid.shape[0]
    place = np.clip((points + 0.5) * r - 0.5, 0, r - 1)
    low = np.minimum(place.astype(np.int64), max(r - 2, 0))
    part = (place - low).astype(np.float32)
    flat = grid.reshape(r**3, -1)
    out = np.zeros((len(points), flat.shape[1]), np.float32)
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(low + corner, r - 1)
        weight = np.where(np.array(corner, bool), part, 1 - part).prod(1, keepdims=True)
        out += weight * flat[(at[:, 0] * r + at[:, 1]) * r + at[:, 2]]
    return out.reshape(len(points), *grid.shape[3:])


def _marched(values: np.ndarray, *, jitter: float = 0.0) -> Mesh:
    from skimage.measure import marching_cubes

    r = values.shape[0]
    vertices, faces, _, _ = marching_cubes(_closed(values, jitter), 0.0)
    points = (vertices - 0.5) / r - 0.5  # padding by one: index 1 is sample 0
    return compact(_without_degenerate(Mesh(np.clip(points, -0.5, 0.5), faces)))


def _closed(values: np.ndarray, jitter: float) -> np.ndarray:
    """The field with a layer outside all around, which puts the wall on the face of the box, and no sample at zero."""
    unit = _change(values)
    if jitter:
        moved = np.sin(np.arange(values.size, dtype=np.float64) * 12.9898).reshape(values.shape)
        values = values + (jitter * unit * moved).astype(np.float32)
    values = np.clip(values, -FARTHEST * unit, FARTHEST * unit)
    near = np.float32(NEAREST * unit)
    values = np.where(np.abs(values) < near, np.where(values < 0, -near, near), values)
    padded = np.abs(np.pad(values, 1, mode="edge"))
    padded[1:-1, 1:-1, 1:-1] = values
    return padded


def _change(values: np.ndarray) -> float:
    """Mean absolute difference of neighbours on different sides; the largest value if there are none."""
    total, count, inside = 0.0, 0, values < 0
    for axis in range(3):
        crossed = np.diff(inside, axis=axis)
        total += float(np.abs(np.diff(values, axis=axis)[crossed]).sum(dtype=np.float64))
        count += int(crossed.sum())
    return total / count if count and total else float(np.abs(values).max())


def _without_degenerate(mesh: Mesh) -> Mesh:
    """Merge vertices in one place and drop the faces that vanish by it."""
    _, first, place = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(mesh.vertices):
        return mesh
    faces = first[place.ravel()][mesh.faces]
    a, b, c = faces.T
    return Mesh(mesh.vertices, faces[(a != b) & (b != c) & (c != a)], mesh.colours)
