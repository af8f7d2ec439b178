"""Real models as solids: distances to their triangles, sides by winding number, colours of the nearest sample.

Open, overlapping and many-part meshes work; sheets thinner than a sample and a half get a shell that can be seen.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.corpus.shape import FIT
from fewstep.three_d.data.colour_names import commonest
from fewstep.three_d.data.read_mesh import SUFFIXES, Model, read_model
from fewstep.three_d.data.winding import winding_numbers
from fewstep.three_d.lattice import Cells, Lattice

SHEET, SHELL, NEAREST = 0.02, 0.014, 4


@dataclass(frozen=True, eq=False)
class MeshSolid:
    """A model with the interface of `fewstep.three_d.corpus.Shape`.

    Parameters
    ----------
    triangles
        Corners in object space, float32 [t, 3, 3].
    points, colours, owners
        Samples of the surface, see `fewstep.three_d.data.read_mesh.Model`.
    name
        What the file is called, for captions.
    attributes
        Nothing is known of it.
    """

    triangles: np.ndarray
    points: np.ndarray
    colours: np.ndarray
    owners: np.ndarray
    name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, name: str = "") -> MeshSolid:
        """A model put into the middle, its longest side 0.9."""
        corners = model.triangles.astype(np.float64)
        low, high = corners.min((0, 1)), corners.max((0, 1))
        scale, middle = FIT / (high - low).max(), (low + high) / 2
        moved = ((corners - middle) * scale).astype(np.float32)
        if _volume(moved) < 0:
            moved = moved[:, ::-1]
        points = ((model.points - middle) * scale).astype(np.float32)
        return cls(moved, points, model.colours, model.owners, name)

    @property
    def kind(self) -> str:
        """Class word, or nothing if the name tells none."""
        from fewstep.three_d import text

        words = re.findall("[a-z]+", self.name.lower())
        try:
            told = text.encode(" with ".join(words)).words if words else ()  # names start with what it is
            return next((word for word in told if word in text.KINDS), "")
        except UsageError:
            return ""

    def sdf(self, points: np.ndarray) -> np.ndarray:
        """Signed distances, negative inside, right to about the spacing of the samples squared.

        Parameters
        ----------
        points
            float32 [n, 3], object space.

        Returns
        -------
        numpy.ndarray
            float32 [n].
        """
        points = np.asarray(points, np.float32)
        away = self._distance(points)
        inside = winding_numbers(points, self.triangles) > 0.5
        signed = np.where(inside, -away, away)
        return np.minimum(signed, away - np.float32(SHELL)) if self.sheet else signed

    def colour(self, points: np.ndarray) -> np.ndarray:
        """sRGB in [0, 1] of the nearest sample.

        Parameters
        ----------
        points
            float32 [n, 3], object space.

        Returns
        -------
        numpy.ndarray
            float32 [n, 3].
        """
        _, which = self._tree.query(points)
        return self.colours[which].astype(np.float32) / 255

    def caption(self, generator: np.random.Generator | None = None) -> str:
        """Its kind and commonest colour, or nothing if the file's name tells no kind.

        Parameters
        ----------
        generator
            Leaves out the colour in some draws.

        Returns
        -------
        str
        """
        kind = self.kind
        if not kind:
            return ""
        if generator is not None and generator.random() < 0.3:
            return f"a {kind}"
        word = commonest(self.colours)
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word} {kind}"

    @cached_property
    def sheet(self) -> bool:
        """Whether it is on the mean thinner than can be seen: 2 V < A t."""
        area = np.linalg.norm(_normals(self.triangles), axis=1).sum() / 2
        return bool(2 * abs(_volume(self.triangles)) < SHEET * area)

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return cKDTree(self.points)

    def _distance(self, points: np.ndarray) -> np.ndarray:
        """To the triangles that the nearest samples lie on."""
        found = np.zeros(len(points), np.float32)
        for first in range(0, len(points), 1 << 16):
            part = points[first : first + (1 << 16)]
            _, near = self._tree.query(part, k=min(NEAREST, len(self.points)))
            owners = self.owners[near.reshape(len(part), -1)]
            best = np.full(len(part), np.inf, np.float32)
            for k in range(owners.shape[1]):
                np.minimum(best, _to_triangles(part, self.triangles[owners[:, k]]), out=best)
            found[first : first + len(part)] = np.sqrt(best)
        return found


def _normals(triangles: np.ndarray) -> np.ndarray:
    return np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])


def _volume(triangles: np.ndarray) -> float:
    a, b, c = (triangles[:, k].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _to_triangles(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Squared distances [n] of points to one triangle each."""
    normal = _normals(triangles)
    size = np.einsum("ij,ij->i", normal, normal)
    best = np.full(len(points), np.inf, np.float32)
    over = size > 1e-20
    for k in range(3):
        start, end = triangles[:, k], triangles[:, (k + 1) % 3]
        e, w = end - start, points - start
        share = np.einsum("ij,ij->i", w, e) / np.maximum(np.einsum("ij,ij->i", e, e), 1e-20)
        rest = w - np.clip(share, 0, 1)[:, None] * e
        np.minimum(best, np.einsum("ij,ij->i", rest, rest), out=best)
        over &= np.einsum("ij,ij->i", np.cross(e, w), normal) >= 0
    height = np.einsum("ij,ij->i", points - triangles[:, 0], normal)
    return np.where(over, np.minimum(best, height * height / np.maximum(size, 1e-20)), best)


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be used, and why."""

    file: Path
    reason: str


def model_files(folder: str | Path) -> list[Path]:
    """The models in a folder and below, by name.

    Parameters
    ----------
    folder
        Of glTF, GLB, OBJ, PLY or STL files.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    UsageError
        If there is no such folder, or no model in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"the folder of models {folder} does not exist")
    found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not found:
        raise UsageError(f"{folder} has no model (one of {', '.join(SUFFIXES)})")
    return found


def solid(file: str | Path) -> MeshSolid:
    """Read a model as a solid.

    Parameters
    ----------
    file
        See `fewstep.three_d.data.read_mesh.read_model`.

    Returns
    -------
    MeshSolid

    Raises
    ------
    UsageError
        If it cannot be used, with the reason.
    """
    file = Path(file)
    return MeshSolid.of(read_model(file), file.stem)


def solid_or_none(file: str | Path) -> MeshSolid | None:
    """The same, None for a file that cannot be used."""
    try:
        return solid(file)
    except UsageError:
        return None


def read_folder(folder: str | Path) -> tuple[list[MeshSolid], list[Skipped]]:
    """All models of a folder that can be used, and those that cannot, with the reasons.

    Parameters
    ----------
    folder
        See `model_files`.

    Returns
    -------
    solids, skipped : list

    Raises
    ------
    UsageError
        If there is no model in it.
    """
    solids, skipped = [], []
    for file in model_files(folder):
        try:
            solids.append(solid(file))
        except UsageError as error:
            skipped.append(Skipped(file, str(error)))
    return solids, skipped


def cells_of(one: MeshSolid, samples: int, block: int, *, cache: str | Path | None = None) -> Cells:
    """A solid's cells on a lattice, kept on disk by its content.

    Parameters
    ----------
    one
        The solid.
    samples, block
        Of the lattice.
    cache
        Folder for the results (npz); None keeps nothing.

    Returns
    -------
    Cells
    """
    lattice = Lattice(samples, block)
    if cache is None:
        return lattice.take(one)
    digest = hashlib.sha256(f"1 {samples} {block} {SHEET} {SHELL}".encode())
    for array in (one.triangles, one.colours, one.points):
        digest.update(np.ascontiguousarray(array).tobytes())
    file = Path(cache) / f"{digest.hexdigest()[:24]}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            return Cells(kept["coords"], kept["sdf"], kept["colour"])
    cells = lattice.take(one)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    np.savez_compressed(part, coords=cells.coords, sdf=cells.sdf, colour=cells.colour)
    part.replace(file)
    return cells


__all__ = ["MeshSolid", "Skipped", "cells_of", "model_files", "read_folder", "solid", "solid_or_none"]
