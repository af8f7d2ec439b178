"""Where slices lie in the patient: DICOM's coordinates, x to the left, y to the back, z to the head, in mm.

The middle of the picture is kept, so that pictures of any size and spacing have the first pixel (PS3.3 C.7.6.2.1.1)

    P = middle − row_direction dx (columns − 1) / 2 − column_direction dy (rows − 1) / 2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fewstep.core.errors import UsageError

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """Orientation of all slices and the middle of each.

    Parameters
    ----------
    row_direction
        Unit vector along which the column index x grows: the first half of ImageOrientationPatient.
    column_direction
        Unit vector along which the row index y grows: the second half.
    middles
        Of each slice, mm.
    thickness
        Of a slice, mm, or None.
    known
        Whether a file said so; False for slices stacked at the origin because none did.

    Raises
    ------
    UsageError
        If the directions are not of unit length and at right angles, or a number is not finite.
    """

    row_direction: Vector
    column_direction: Vector
    middles: tuple[Vector, ...]
    thickness: float | None = None
    known: bool = True

    def __post_init__(self) -> None:
        row, column = np.array(self.row_direction, float), np.array(self.column_direction, float)
        sizes = np.array([row @ row, column @ column, row @ column])
        if not np.isfinite(sizes).all() or np.abs(sizes - [1, 1, 0]).max() > 1e-3:
            raise UsageError(
                f"expected directions of rows and columns of length 1 at right angles, got {self.row_direction} and "
                f"{self.column_direction}"
            )
        if not np.isfinite(np.array(self.middles, float)).all():
            raise UsageError("expected finite positions of the slices")

    @property
    def normal(self) -> Vector:
        """row_direction x column_direction."""
        return vector(np.cross(self.row_direction, self.column_direction))

    def first_pixel(self, index: int, size: tuple[int, int], spacing: Sequence[float]) -> Vector:
        """Middle of the first pixel of a slice: ImagePositionPatient.

        Parameters
        ----------
        index
            Of the slice.
        size
            (rows, columns) of the picture.
        spacing
            mm between rows and between columns.

        Returns
        -------
        Vector
        """
        down, right = (spacing[axis] * (size[axis] - 1) / 2 for axis in (0, 1))
        row, column = np.array(self.row_direction), np.array(self.column_direction)
        return vector(np.array(self.middles[index]) - right * row - down * column)

    def order(self) -> list[int]:
        """Slices in the order of their place along the normal."""
        along = np.array(self.middles) @ np.array(self.normal)
        return [int(i) for i in np.argsort(along, kind="stable")]

    def gap(self) -> float | None:
        """Median distance of neighbouring slices, mm; None of one slice."""
        along = np.sort(np.array(self.middles) @ np.array(self.normal))
        return float(np.median(np.diff(along))) if len(along) > 1 else None

    def take(self, slices: Sequence[int]) -> Geometry:
        """The geometry of some slices."""
        return replace(self, middles=tuple(self.middles[i] for i in slices))

    def affine(self, size: tuple[int, int], spacing: Sequence[float]) -> np.ndarray:
        """Voxel (column, row, slice) to NIfTI's mm, x to the right, y to the front, z to the head.

        Parameters
        ----------
        size
            (rows, columns).
        spacing
            mm between rows, columns and slices.

        Returns
        -------
        ndarray
            float64 [4, 4]; the third column points from the first slice to the last.
        """
        first = np.array(self.first_pixel(0, size, spacing))
        last = np.array(self.first_pixel(len(self.middles) - 1, size, spacing))
        step = (last - first) / (len(self.middles) - 1) if len(self.middles) > 1 else np.array(self.normal) * spacing[2]
        out = np.eye(4)
        out[:3, 0] = np.array(self.row_direction) * spacing[1]
        out[:3, 1] = np.array(self.column_direction) * spacing[0]
        out[:3, 2] = step
        out[:3, 3] = first
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ out


@dataclass(frozen=True)
class Turn:
    """How pictures [slice, y, x] are turned so that they look as radiologists expect.

    Parameters
    ----------
    transpose
        Swap rows and columns first.
    flip_rows, flip_columns
        Then turn the order of rows, of columns.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def pictures(self, values: np.ndarray) -> np.ndarray:
        """Turn pictures [..., y, x]."""
        values = np.swapaxes(values, -1, -2) if self.transpose else values
        values = values[..., ::-1, :] if self.flip_rows else values
        return values[..., ::-1] if self.flip_columns else values

    def pair(self, values: tuple) -> tuple:
        """Turn a pair that belongs to (rows, columns)."""
        return (values[1], values[0], *values[2:]) if self.transpose else values

    def geometry(self, geometry: Geometry) -> Geometry:
        """The geometry of the turned pictures."""
        row, column = geometry.row_direction, geometry.column_direction
        row, column = (column, row) if self.transpose else (row, column)
        row = _negative(row) if self.flip_columns else row
        column = _negative(column) if self.flip_rows else column
        return replace(geometry, row_direction=row, column_direction=column)


VIEWS = {0: ((0, 1, 0), (0, 0, -1)), 1: ((1, 0, 0), (0, 0, -1)), 2: ((1, 0, 0), (0, 1, 0))}
"""Row and column directions of sagittal, coronal and axial pictures."""


def upright(geometry: Geometry) -> Turn:
    """The turn that brings pictures nearest to the usual view of their plane.

    Parameters
    ----------
    geometry
        Of the pictures.

    Returns
    -------
    Turn
        Axial with the patient's left on the right and front on top; coronal and sagittal with the head on top.
    """
    row, column = np.array(geometry.row_direction), np.array(geometry.column_direction)
    view_row, view_column = map(np.array, VIEWS[int(np.argmax(np.abs(geometry.normal)))])
    transpose = abs(row @ view_row) + abs(column @ view_column) < abs(column @ view_row) + abs(row @ view_column)
    row, column = (column, row) if transpose else (row, column)
    return Turn(bool(transpose), bool(column @ view_column < 0), bool(row @ view_row < 0))


def unknown(slices: int, gap: float) -> Geometry:
    """Axial slices at the origin, for files that do not say where theirs are."""
    heights = (np.arange(slices) - (slices - 1) / 2) * gap
    return Geometry((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), tuple((0.0, 0.0, float(z)) for z in heights), gap, known=False)


def vector(values: Sequence[float] | np.ndarray) -> Vector:
    """Three floats."""
    x, y, z = (float(v) for v in values)
    return (x, y, z)


def _negative(values: Vector) -> Vector:
    return (-values[0], -values[1], -values[2])
