"""Pictures in pieces: windows with context of the receptive field, so that what is put together equals the whole.

A net whose answer at a pixel depends on inputs within `margin` pixels gives, on a window enlarged by `margin` and cut
back, exactly what it gives on the whole picture; so tiles meet at every step and leave no seam.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fewstep.core.errors import UsageError

SMALLEST = 32
"""Tiles are not halved below so many pixels when memory runs out."""

WORKING_BYTES = 2048
"""Of a forward, per position of the net's own grid (1/multiple of the canvas): eight maps of 64 channels."""

BUDGET = 384 << 20
"""Bytes that a forward may work with when the tile's size is chosen for the user."""

Tick = Callable[[int, int], None]
"""Called with pieces done and pieces in all."""

_log = logging.getLogger(__name__)


class Window(NamedTuple):
    """A piece of a canvas: rows and columns to keep, and those to compute, [start, stop) each."""

    keep: tuple[slice, slice]
    outer: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """What to keep, counted from the corner of what is computed."""
        rows, columns = (slice(k.start - o.start, k.stop - o.start) for k, o in zip(self.keep, self.outer, strict=True))
        return rows, columns


def windows(shape: tuple[int, int], size: int, *, margin: int, multiple: int) -> Iterator[Window]:
    """Cut a canvas into squares that are computed with their surroundings.

    Parameters
    ----------
    shape
        Rows and columns of the canvas, multiples of `multiple`.
    size
        Side of what each window keeps, in pixels; rounded down to `multiple`, up to one of it.
    margin
        Pixels of surroundings that count.
    multiple
        Corners lie on multiples of this.

    Yields
    ------
    Window

    Raises
    ------
    UsageError
        If the canvas is no multiple of `multiple`, or a number is not positive.
    """
    if size < 1 or margin < 0 or multiple < 1:
        raise UsageError(
            f"expected a positive tile and multiple and a margin of at least 0: {size}, {multiple}, {margin}"
        )
    if shape[0] % multiple or shape[1] % multiple:
        raise UsageError(f"expected a canvas of multiples of {multiple}, got {list(shape)}: pad it first")
    step, around = max(multiple, size // multiple * multiple), -(-margin // multiple) * multiple
    for y in range(0, shape[0], step):
        for x in range(0, shape[1], step):
            keep = [slice(c, min(c + step, n)) for c, n in zip((y, x), shape, strict=True)]
            outer = [slice(max(0, k.start - around), min(n, k.stop + around)) for k, n in zip(keep, shape, strict=True)]
            yield Window((keep[0], keep[1]), (outer[0], outer[1]))


def tiled(
    forward: Callable[..., Tensor], *, scale: int, size: int, margin: int, multiple: int, tick: Tick | None = None
) -> Callable[..., Tensor]:
    """The same forward, computed tile by tile; where memory runs out, with tiles of half the size from then on.

    Parameters
    ----------
    forward
        ``forward(x, t, lq, mask, told) -> x0_hat``, local in x [batch, 3, rows, columns] or None, and in lq
        [batch, 3, ...] and mask [batch, 1, ...] or None, `scale` times smaller.
    scale
        Of the canvas to `lq`.
    size
        Side of a tile on the canvas; 0: the whole canvas at once.
    margin
        Radius of what counts, in pixels of the canvas.
    multiple
        Tiles lie on multiples of this.
    tick
        Progress.

    Returns
    -------
    callable
        With the signature of `forward`.

    Raises
    ------
    UsageError
        If `size` is negative, or memory runs out with the smallest tiles.
    """
    if size < 0:
        raise UsageError(f"a tile has at least 1 pixel, or 0 for the whole picture; got {size}")
    grid, current = math.lcm(multiple, scale), [size]

    def whole(x: Tensor | None, t: Tensor | None, lq: Tensor, mask: Tensor | None, told: object) -> Tensor:
        shape = (lq.shape[-2] * scale, lq.shape[-1] * scale)
        while True:
            try:
                return once(shape, current[0] or max(shape), x, t, lq, mask, told)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                half = min(current[0] or max(shape), max(shape)) // 2
            if half < SMALLEST:
                raise UsageError(
                    f"out of memory even with tiles of {2 * half} pixels: free some, or use a smaller picture"
                )
            _log.warning("out of memory: going on with tiles of %d pixels", half)
            current[0] = half
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def once(
        shape: tuple[int, int],
        side: int,
        x: Tensor | None,
        t: Tensor | None,
        lq: Tensor,
        mask: Tensor | None,
        told: object,
    ) -> Tensor:
        if side >= max(shape):
            if tick is not None:
                tick(1, 1)
            return forward(x, t, lq, mask, told)
        pieces, out = list(windows(shape, side, margin=margin, multiple=grid)), None
        for number, piece in enumerate(pieces, start=1):
            small = tuple(slice(o.start // scale, o.stop // scale) for o in piece.outer)
            answer = forward(
                None if x is None else x[..., piece.outer[0], piece.outer[1]],
                t,
                lq[..., small[0], small[1]],
                None if mask is None else mask[..., small[0], small[1]],
                told,
            )
            if out is None:
                out = answer.new_empty(*answer.shape[:2], *shape)
            out[..., piece.keep[0], piece.keep[1]] = answer[..., piece.inner[0], piece.inner[1]]
            if tick is not None:
                tick(number, len(pieces))
        assert out is not None  # a canvas has at least one window
        return out

    return whole


def auto_size(multiple: int, *, available: int | None = None) -> int:
    """Side of a tile that keeps a forward within `BUDGET`, and within a quarter of the memory that is free.

    Parameters
    ----------
    multiple
        How much finer the canvas is than the net's own grid.
    available
        Free bytes; default what the machine says.

    Returns
    -------
    int
        Pixels, at least 128.
    """
    free = free_memory() if available is None else available
    positions = min(BUDGET, free // 4) / WORKING_BYTES
    return max(128, int(math.sqrt(positions)) * multiple)


def free_memory() -> int:
    """Bytes that are free on this machine; 4 GiB where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            told = dict(line.split(":", 1) for line in lines)
        return int(told["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("out of memory", "not enough memory", "can't allocate memory", "bad_alloc")
    )
