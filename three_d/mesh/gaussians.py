"""Flat Gaussians on a surface, without any fitting: each covers an equal share of the area, as wide as the distance to
its neighbours, thin along the normal. The PLY layout is that of 3D Gaussian Splatting (Kerbl et al., arXiv:2308.04079).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.three_d.mesh.export import header, table
from fewstep.three_d.mesh.mesh import Mesh

GREY, OPACITY, FLATNESS = 191, 0.99, 0.1
SH0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
WIDTH = 0.7
"""Standard deviation in units of the square root of each one's area."""


@dataclass(frozen=True)
class Gaussians:
    """A cloud of them.

    Parameters
    ----------
    means
        float32 [n, 3].
    normals
        Unit vectors, float32 [n, 3].
    scales
        Standard deviations along the own axes, float32 [n, 3]; the third is along the normal.
    rotations
        Unit quaternions w, x, y, z from the own axes to those of the object, float32 [n, 4].
    colours
        uint8 [n, 3], sRGB.
    opacity
        float32 [n], between 0 and 1.
    """

    means: np.ndarray
    normals: np.ndarray
    scales: np.ndarray
    rotations: np.ndarray
    colours: np.ndarray
    opacity: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    def scaled(self, factor: float) -> Gaussians:
        """The same cloud, larger by a factor."""
        f = np.float32(factor)
        return Gaussians(self.means * f, self.normals, self.scales * f, self.rotations, self.colours, self.opacity)

    def save(self, path: str | Path, *, facts: Mapping[str, Any] | None = None) -> Path:
        """Write a PLY file as viewers of 3D Gaussian Splatting read it.

        Parameters
        ----------
        path
            Ends in ``.ply``.
        facts
            Become comments.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        UsageError
            If it ends otherwise.
        """
        path = Path(path)
        if path.suffix.lower() != ".ply":
            raise UsageError(f"{path}: Gaussians are written as .ply")
        names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
        names += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
        columns = [*self.means.T, *self.normals.T, *((self.colours / 255 - 0.5) / SH0).T]
        columns += [np.log(self.opacity / (1 - self.opacity)), *np.log(self.scales).T, *self.rotations.T]
        kinds = [(name, "<f4") for name in names]
        with replacing(path) as temporary:
            temporary.write_bytes(header(kinds, len(self), facts or {}) + table(kinds, columns))
        return path


def surfels(mesh: Mesh, *, count: int = 20_000) -> Gaussians:
    """Cover a surface evenly.

    Parameters
    ----------
    mesh
        With faces.
    count
        How many.

    Returns
    -------
    Gaussians
        The same for equal meshes: places follow the low-discrepancy sequence of the plastic number, no random draw.

    Raises
    ------
    UsageError
        If the count is not positive, or the mesh has no area.
    """
    if count < 1:
        raise UsageError(f"count is at least 1, got {count}")
    face, weights = even_points(mesh, count)
    corners = mesh.faces[face]
    means = np.einsum("nk,nkc->nc", weights, mesh.vertices[corners])
    normals = np.einsum("nk,nkc->nc", weights, mesh.normals[corners])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    if mesh.colours is None:
        colours = np.full((count, 3), GREY, np.uint8)
    else:
        colours = np.rint(np.einsum("nk,nkc->nc", weights, mesh.colours[corners].astype(np.float32))).astype(np.uint8)
    wide = WIDTH * np.sqrt(mesh.area / count)
    scales = np.tile(np.array([wide, wide, wide * FLATNESS], np.float32), (count, 1))
    opacity = np.full(count, OPACITY, np.float32)
    return Gaussians(
        means.astype(np.float32), normals.astype(np.float32), scales, turn_to(normals), colours, opacity
    )  # fmt: skip


def even_points(mesh: Mesh, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points spread over the area: their faces int64 [n] and weights of the corners float32 [n, 3].

    Raises
    ------
    UsageError
        If the mesh has no area.
    """
    area = np.linalg.norm(mesh.face_vectors.astype(np.float64), axis=1)
    total = np.cumsum(area)
    if not len(total) or total[-1] <= 0:
        raise UsageError("the mesh has no area: there is nothing to sample")
    place = (np.arange(count) + 0.5) / count * total[-1]
    face = np.minimum(np.searchsorted(total, place), len(area) - 1)
    plastic = 1.32471795724474602596
    u, v = ((0.5 + np.arange(count)[:, None] / plastic ** np.array([1, 2])) % 1).T
    root = np.sqrt(u)
    return face, np.stack([1 - root, root * (1 - v), root * v], 1).astype(np.float32)


def turn_to(normals: np.ndarray) -> np.ndarray:
    """The shortest rotations that turn +z to unit vectors [n, 3], as quaternions w, x, y, z, float32 [n, 4]."""
    x, y, z = normals.astype(np.float64).T
    q = np.stack([1 + z, -y, x, np.zeros_like(x)], 1)
    q[z < -1 + 1e-9] = [0, 1, 0, 0]
    return (q / np.linalg.norm(q, axis=1, keepdims=True)).astype(np.float32)
