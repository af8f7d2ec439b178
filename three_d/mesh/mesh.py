"""A triangle mesh with colours at its vertices: y up, front +z, faces counter-clockwise as seen from outside.

Watertight: each edge belongs to exactly two faces, which run along it in opposite directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles.

    Parameters
    ----------
    vertices
        float32 [V, 3]; x right, y up, z to the viewer.
    faces
        int64 [F, 3], indices of vertices.
    colours
        uint8 [V, 3], sRGB; or None.

    Raises
    ------
    UsageError
        If shapes do not fit, an index is out of range, or a coordinate is not finite.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray | None = None

    def __post_init__(self) -> None:
        vertices = np.ascontiguousarray(self.vertices, np.float32)
        faces = np.ascontiguousarray(self.faces, np.int64)
        if vertices.ndim != 2 or vertices.shape[1] != 3:
            raise UsageError(f"vertices are [V, 3], got {list(vertices.shape)}")
        if faces.ndim != 2 or faces.shape[1] != 3:
            raise UsageError(f"faces are [F, 3], got {list(faces.shape)}")
        if faces.size and not (faces.min() >= 0 and faces.max() < len(vertices)):
            raise UsageError(f"faces name vertices 0 to {len(vertices) - 1}, got {faces.min()} to {faces.max()}")
        if not np.isfinite(vertices).all():
            raise UsageError("each coordinate must be finite, got NaN or infinity")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)
        if self.colours is not None:
            colours = np.ascontiguousarray(self.colours)
            if colours.shape != vertices.shape or colours.dtype != np.uint8:
                raise UsageError(
                    f"colours are uint8 {list(vertices.shape)} like the vertices, got {colours.dtype} "
                    f"{list(colours.shape)}"
                )
            object.__setattr__(self, "colours", colours)

    @cached_property
    def watertight(self) -> bool:
        """Whether each edge has exactly two faces, in opposite directions; False if there is no face."""
        if not len(self.faces):
            return False
        start, end = _edges(self.faces)
        n = len(self.vertices)
        forward, backward = np.sort(start * n + end), np.sort(end * n + start)
        return bool((start != end).all() and (forward == backward).all() and (np.diff(forward) != 0).all())

    @cached_property
    def volume(self) -> float:
        """Enclosed volume, positive if the faces look outward (right for closed meshes only)."""
        a, b, c = (self.vertices[self.faces[:, k]].astype(np.float64) for k in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    @cached_property
    def area(self) -> float:
        """Area of all faces."""
        return float(np.linalg.norm(self.face_vectors, axis=1).sum() / 2)

    @cached_property
    def extents(self) -> np.ndarray:
        """Size of the bounding box, float32 [3]; zeros if there is no vertex."""
        return np.ptp(self.vertices, axis=0) if len(self.vertices) else np.zeros(3, np.float32)

    @cached_property
    def face_vectors(self) -> np.ndarray:
        """Normals of the faces, as long as twice their areas, float32 [F, 3]."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        return np.cross(b - a, c - a)

    @cached_property
    def normals(self) -> np.ndarray:
        """Unit normals of the vertices, each the mean of its faces by area, float32 [V, 3]; (0, 1, 0) where none is."""
        n, flat = len(self.vertices), self.faces.T.ravel()
        vectors = self.face_vectors
        summed = np.stack([np.bincount(flat, np.tile(vectors[:, k], 3), n) for k in range(3)], 1)
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        return np.where(length > 1e-20, summed / np.maximum(length, 1e-20), [[0.0, 1.0, 0.0]]).astype(np.float32)

    def scaled(self, factor: float) -> Mesh:
        """The same mesh, larger by a factor."""
        return Mesh(self.vertices * np.float32(factor), self.faces, self.colours)

    def save(self, path: str | Path, *, size: float | None = None, facts: Mapping[str, Any] | None = None) -> Path:
        """Write a file, of the format that its suffix names; see `fewstep.three_d.mesh.export.save`."""
        from fewstep.three_d.mesh.export import save

        return save(self, path, size=size, facts=facts)


def compact(mesh: Mesh) -> Mesh:
    """The mesh without vertices that no face uses; the others keep their order."""
    used = np.zeros(len(mesh.vertices), bool)
    used[mesh.faces.ravel()] = True
    if used.all():
        return mesh
    place = np.cumsum(used) - 1
    colours = None if mesh.colours is None else mesh.colours[used]
    return Mesh(mesh.vertices[used], place[mesh.faces], colours)


def _edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return faces.ravel(), faces[:, [1, 2, 0]].ravel()
