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
        That with most lines along its shorter side, up to 24, then the largest.

    Raises
    ------
    UsageError
        If fewer than 2 neighbouring lines at the centre are sampled.
    """
    sampled = mask if mask.ndim == 2 else mask.all(0)
    sampled = sampled.expand(shape)
    middle = shape[1] // 2
    rows = _run(sampled[:, middle], shape[0] // 2)
    best, found = (0, 0), None
    if rows is not None:
        top, bottom = shape[0] // 2, shape[0] // 2 + 1
        common: Tensor | None = sampled[top]
        while common is not None and (run := _run(common, middle)) is not None:
            height, width = bottom - top, run[1] - run[0]
            score = min(height, width, ENOUGH), height * width
            if score > best:
                best, found = score, Region((top, bottom), run)
            common, top, bottom = _grown(sampled, common, rows, top, bottom)
    if found is None or found.lines < LEAST:
        raise UsageError(
            f"expected a fully sampled centre of k-space to estimate coil maps from, found "
            f"{list(found.size) if found else 'none'} of {list(shape)}: give coil maps, or scan calibration lines"
        )
    return found


def _grown(
    sampled: Tensor, common: Tensor, rows: tuple[int, int], top: int, bottom: int
) -> tuple[Tensor | None, int, int]:
    """A row more on one side or on both, whichever leaves the longest run; None if there is none left in `rows`."""
    options = []
    for up, down in ((1, 1), (1, 0), (0, 1)):
        if top - up >= rows[0] and bottom + down <= rows[1]:
            both = common & sampled[top - up] & sampled[bottom + down - 1]
            run = _run(both, sampled.shape[1] // 2)
            options.append((run[1] - run[0] if run else 0, up + down, both, top - up, bottom + down))
    return max(options, key=lambda option: option[:2])[2:] if options else (None, top, bottom)


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
