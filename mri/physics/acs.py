"""The calibration region (ACS): the fully sampled rectangle around the centre of k-space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError

ENOUGH = 24
"""Lines beyond which a calibration gains little."""

LEAST = 2
"""Lines below which there is nothing to calibrate with."""


@dataclass(frozen=True)
class Region:
    """A rectangle of k-space, half-open intervals of rows and columns.

    Parameters
    ----------
    rows, columns
        (first, one past the last).
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def lines(self) -> int:
        """The smaller of the two, which limits the calibration."""
        return min(self.size)

    def of(self, kspace: Tensor) -> Tensor:
        """The region of k-space [..., y, x], a view."""
        return kspace[..., slice(*self.rows), slice(*self.columns)]

    def centred(self, most: int, shape: tuple[int, int]) -> Region:
        """At most `most` rows and columns of it, the nearest to the centre of a k-space of `shape`."""
        rows, columns = (
            _nearest(interval, most, n // 2) for interval, n in zip((self.rows, self.columns), shape, strict=True)
        )
        return Region(rows, columns)


def find_acs(mask: Tensor, shape: tuple[int, int]) -> Region:
    """The largest fully sampled rectangle around the centre (n//2, n//2).

    Parameters
    ----------
    mask
        bool, broadcasts to [y, x]; with a batch in front, what all items have sampled counts.
    shape
        (y, x) of k-space.

    Returns
    -------
    Region
        That with most of 24 x 24 in it, then the largest.

    Raises
    ------
    UsageError
        If fewer than 2 neighbouring lines at the centre are sampled.
    """
    sampled = mask if mask.ndim == 2 else mask.all(0)
    sampled = sampled.expand(shape)
    middle = shape[0] // 2
    best, found = (0, 0), None
    above = below = sampled[middle]
    top, bottom = middle, middle + 1
    while (run := _run(above & below, shape[1] // 2)) is not None:
        height, width = bottom - top, run[1] - run[0]
        score = min(height, ENOUGH) * min(width, ENOUGH), height * width
        if score > best:
            best, found = score, Region((top, bottom), run)
        grown = _grown(sampled, above, below, top, bottom)
        if grown is None:
            break
        above, below, top, bottom = grown
    if found is None or found.lines < LEAST:
        raise UsageError(
            f"expected a fully sampled centre of k-space to estimate coil maps from, found "
            f"{list(found.size) if found else 'none'} of {list(shape)}: give coil maps, or scan calibration lines"
        )
    return found


def _grown(
    sampled: Tensor, above: Tensor, below: Tensor, top: int, bottom: int
) -> tuple[Tensor, Tensor, int, int] | None:
    """One row more on each side where there is one that has samples at the centre; None if there is none."""
    middle = sampled.shape[1] // 2
    up = top > 0 and bool(sampled[top - 1, middle])
    down = bottom < sampled.shape[0] and bool(sampled[bottom, middle])
    if not up and not down:
        return None
    if up:
        top -= 1
        above = above & sampled[top]
    if down:
        below = below & sampled[bottom]
        bottom += 1
    return above, below, top, bottom


def _run(row: Tensor, middle: int) -> tuple[int, int] | None:
    """The run of True around `middle`."""
    if not bool(row[middle]):
        return None
    gaps = torch.nonzero(~row).flatten()
    before, after = gaps[gaps < middle], gaps[gaps > middle]
    return (int(before[-1]) + 1 if len(before) else 0), (int(after[0]) if len(after) else len(row))


def _nearest(interval: tuple[int, int], most: int, middle: int) -> tuple[int, int]:
    first, last = interval
    size = min(most, last - first)
    start = min(max(middle - size // 2, first), last - size)
    return start, start + size
