"""A solid as signed distances and colours in the cells that its surface touches, and back to a whole grid.

A lattice has R samples per axis at (i + 1/2)/R − 1/2, in cells of b samples per axis. A cell is active if one of its
samples and one of their six neighbours lie on different sides of the surface; what the other cells hold follows from
which side of the surface they lie on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fewstep.core.errors import UsageError


class Solid(Protocol):
    """What can be put on a lattice: `points` [n, 3] in object space, float32."""

    def sdf(self, points: np.ndarray) -> np.ndarray:
        """Signed distances [n], negative inside, never larger in magnitude than the true ones."""

    def colour(self, points: np.ndarray) -> np.ndarray:
        """sRGB in [0, 1], [n, 3]."""


@dataclass(frozen=True)
class Cells:
    """The active cells of one solid.

    Parameters
    ----------
    coords
        Where they are, int64 [n, 3] in the order x, y, z, sorted.
    sdf
        Signed distances in units of the lattice's reach, clipped to [-1, 1], float32 [n, b³] (x slowest).
    colour
        sRGB in [0, 1], float32 [n, b³, 3].
    """

    coords: np.ndarray
    sdf: np.ndarray
    colour: np.ndarray


@dataclass(frozen=True)
class Field:
    """A whole grid, ready to be meshed.

    Parameters
    ----------
    sdf
        In units of the lattice's reach, negative inside, float32 [R, R, R].
    colour
        sRGB in [0, 1], float32 [R, R, R, 3].
    """

    sdf: np.ndarray
    colour: np.ndarray


@dataclass(frozen=True)
class Lattice:
    """Samples in cells.

    Parameters
    ----------
    samples
        R, per axis.
    block
        b, samples per axis of a cell.

    Raises
    ------
    UsageError
        If the block does not divide the samples, or either is not positive.
    """

    samples: int = 60
    block: int = 5

    def __post_init__(self) -> None:
        if min(self.samples, self.block) < 1 or self.samples % self.block:
            raise UsageError(f"expected samples as a multiple of block, both positive, got {self}")

    @property
    def cells(self) -> int:
        """Cells per axis."""
        return self.samples // self.block

    @property
    def reach(self) -> float:
        """The distance, in object units, at which signed distances are clipped: the side of a cell."""
        return self.block / self.samples

    def take(self, solid: Solid) -> Cells:
        """Look at a solid where its surface is.

        Parameters
        ----------
        solid
            Inside [-0.5, 0.5]³.

        Returns
        -------
        Cells
            Possibly none.
        """
        c, b = self.cells, self.block
        corners = np.stack(np.meshgrid(*[np.arange(c)] * 3, indexing="ij"), -1).reshape(-1, 3)
        far = 3**0.5 * (b / 2 + 1) / self.samples  # from the centre to the outermost neighbour of a sample
        middle = ((corners + 0.5) / c - 0.5).astype(np.float32)
        near = corners[np.abs(solid.sdf(middle)) <= far]
        ring = np.stack(np.meshgrid(*[np.arange(-1, b + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        points = (near[:, None] * b + ring + 0.5) / self.samples - 0.5
        values = solid.sdf(points.reshape(-1, 3).astype(np.float32)).reshape(-1, b + 2, b + 2, b + 2)
        active = _touched(values < 0)
        coords, inner = near[active], values[active][:, 1:-1, 1:-1, 1:-1].reshape(-1, b**3)
        inside = np.all((ring >= 0) & (ring < b), 1)
        where = points[active][:, inside].reshape(-1, 3).astype(np.float32)
        colour = solid.colour(where).reshape(-1, b**3, 3) if len(where) else np.zeros((0, b**3, 3), np.float32)
        sdf = np.clip(inner / self.reach, -1, 1).astype(np.float32)
        return Cells(coords.astype(np.int64), sdf, colour.astype(np.float32))

    def fill(self, cells: Cells) -> Field:
        """The whole grid: cells that are not active take the side of the surface that their neighbours see.

        What is connected with the border is outside; an enclosed region is what most active samples next to it are.

        Parameters
        ----------
        cells
            The active ones.

        Returns
        -------
        Field
        """
        from scipy import ndimage

        c, b = self.cells, self.block
        known = np.zeros((c,) * 3, bool)
        known[tuple(cells.coords.T)] = True
        sdf, colour = self.scatter(cells)
        regions, n = ndimage.label(~np.pad(known, 1))
        inner = regions[1:-1, 1:-1, 1:-1]
        votes = np.zeros(n + 1)
        for mine, other in _faces(c, b):
            region, seen = inner.reshape(-1)[mine], sdf.reshape(-1)[other]
            np.add.at(votes, region, np.where(np.isnan(seen), 0, np.sign(np.nan_to_num(seen))).sum(1))
        side = np.where(votes < 0, -1.0, 1.0)
        side[regions[0, 0, 0]] = 1.0
        whole = np.repeat(np.repeat(np.repeat(side[inner], b, 0), b, 1), b, 2)
        sdf = np.where(np.isnan(sdf), whole, sdf).astype(np.float32)
        return Field(sdf, _spread(colour, known, b))

    def scatter(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Cells in their places: signed distances [R, R, R] and colours [R, R, R, 3], NaN and 0 elsewhere."""
        c, b, n = self.cells, self.block, self.samples
        sdf = np.full((c, c, c, b, b, b), np.nan, np.float32)
        colour = np.zeros((c, c, c, b, b, b, 3), np.float32)
        at = tuple(cells.coords.T)
        sdf[at], colour[at] = cells.sdf.reshape(-1, b, b, b), cells.colour.reshape(-1, b, b, b, 3)
        return (
            sdf.transpose(0, 3, 1, 4, 2, 5).reshape(n, n, n),
            colour.transpose(0, 3, 1, 4, 2, 5, 6).reshape(n, n, n, 3),
        )


def _touched(inside: np.ndarray) -> np.ndarray:
    """Which blocks [n, b + 2, ...] hold a sample whose neighbour is on the other side."""
    core = inside[:, 1:-1, 1:-1, 1:-1]
    found = np.zeros(len(inside), bool)
    for axis in (1, 2, 3):
        for shift in (-1, 1):
            cut = [slice(None), *[slice(1, -1)] * 3]
            cut[axis] = slice(1 + shift, inside.shape[axis] - 1 + shift)
            found |= (core != inside[tuple(cut)]).any((1, 2, 3))
    return found


def _faces(c: int, b: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of six directions: numbers of cells [m], and of the samples of their neighbours that face them."""
    n = c * b
    sample = np.arange(n**3).reshape(n, n, n)
    cell = np.arange(c**3).reshape(c, c, c)
    for axis in range(3):
        s, k = np.moveaxis(sample, axis, 0), np.moveaxis(cell, axis, 0)
        for mine, facing in ((k[:-1], s[b::b]), (k[1:], s[b - 1 : -1 : b])):
            m = len(mine)
            squares = facing.reshape(m, c, b, c, b).transpose(0, 1, 3, 2, 4).reshape(-1, b * b)
            yield mine.reshape(-1), squares


def _spread(colour: np.ndarray, known: np.ndarray, b: int) -> np.ndarray:
    """Colours of cells without one: those of the nearest sample that has one."""
    from scipy import ndimage

    if not known.any():
        return colour
    fine = np.repeat(np.repeat(np.repeat(known, b, 0), b, 1), b, 2)
    near = np.repeat(np.repeat(np.repeat(ndimage.binary_dilation(known), b, 0), b, 1), b, 2)
    places = ndimage.distance_transform_edt(~fine, return_distances=False, return_indices=True)
    empty = near & ~fine
    colour[empty] = colour[tuple(places[:, empty])]
    return colour
