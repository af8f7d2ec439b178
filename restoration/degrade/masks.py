"""Masks of holes to fill, 1 where unknown: strokes, boxes, scattered pixels, lines, halves, borders.

Strokes and boxes by the numbers of LaMa (Suvorov et al. 2021, arXiv:2109.07161, appendix); the others are the families
of RePaint (Lugmayr et al. 2022, arXiv:2201.09865, section 5.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.restoration.degrade.noise import uniform


def strokes(
    rows: int, columns: int, generator: torch.Generator, *, width: tuple[float, float] = (3, 12), n: int = 4
) -> Tensor:
    """Thick broken lines, as of a brush; `n` at most, each of up to six segments.

    Parameters
    ----------
    rows, columns
        Of the mask.
    generator
        On the CPU.
    width
        Range of the brush's width in pixels.
    n
        Largest number of lines.
    """
    y, x = _grid(rows, columns)
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    for _ in range(1 + _integer(n, generator)):
        radius = uniform(width, generator) / 2
        at = (uniform((0, rows), generator), uniform((0, columns), generator))
        angle = uniform((0, 2 * math.pi), generator)
        for _ in range(1 + _integer(6, generator)):
            angle += uniform((-1.2, 1.2), generator)
            reach = uniform((0.1, 0.5), generator) * max(rows, columns)
            to = (at[0] + reach * math.sin(angle), at[1] + reach * math.cos(angle))
            mask |= _segment(y, x, at, to) <= radius
            at = (min(max(to[0], 0), rows), min(max(to[1], 0), columns))
    return mask.float()


def boxes(
    rows: int, columns: int, generator: torch.Generator, *, side: tuple[float, float] = (0.1, 0.35), n: int = 3
) -> Tensor:
    """Rectangles; sides as a share of the mask's."""
    mask = torch.zeros(rows, columns)
    for _ in range(1 + _integer(n, generator)):
        high, wide = (max(1, round(uniform(side, generator) * m)) for m in (rows, columns))
        top, left = _integer(rows - high + 1, generator), _integer(columns - wide + 1, generator)
        mask[top : top + high, left : left + wide] = 1
    return mask


def pixels(rows: int, columns: int, generator: torch.Generator, *, share: tuple[float, float] = (0.2, 0.85)) -> Tensor:
    """Single pixels, a share of them drawn from a range."""
    return (torch.rand(rows, columns, generator=generator) < uniform(share, generator)).float()


def lattice(rows: int, columns: int, generator: torch.Generator, *, every: int = 2) -> Tensor:
    """All but one pixel of each square of `every` x `every`: RePaint's "super-resolve 2x"."""
    y, x = _grid(rows, columns)
    down, right = _integer(every, generator), _integer(every, generator)
    return 1 - ((y % every == down) & (x % every == right)).float()


def lines(rows: int, columns: int, generator: torch.Generator, *, every: int = 2) -> Tensor:
    """Every `every`-th row or column: RePaint's "alternating lines"."""
    y, x = _grid(rows, columns)
    along = y if torch.rand((), generator=generator) < 0.5 else x
    return (along % every == _integer(every, generator)).float()


def half(rows: int, columns: int, generator: torch.Generator, *, share: float = 0.5) -> Tensor:
    """One side of the picture."""
    side, mask = _integer(4, generator), torch.zeros(rows, columns)
    high, wide = round(rows * share), round(columns * share)
    if side == 0:
        mask[:high] = 1
    elif side == 1:
        mask[rows - high :] = 1
    elif side == 2:
        mask[:, :wide] = 1
    else:
        mask[:, columns - wide :] = 1
    return mask


KINDS: Mapping[str, Callable[..., Tensor]] = {
    "strokes": strokes,
    "boxes": boxes,
    "pixels": pixels,
    "lattice": lattice,
    "lines": lines,
    "half": half,
}


def mixed(rows: int, columns: int, generator: torch.Generator, *, kinds: Mapping[str, float]) -> Tensor:
    """One of several kinds.

    Parameters
    ----------
    rows, columns, generator
        As for `strokes`.
    kinds
        Names of `KINDS` and how often each is taken.

    Returns
    -------
    Tensor
        float32, [rows, columns], 1 where unknown.

    Raises
    ------
    UsageError
        If a name is unknown, or nothing has a positive share.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds or min(kinds.values()) < 0 or sum(kinds.values()) <= 0:
        raise UsageError(f"expected shares of the masks {', '.join(KINDS)}, got {dict(kinds)}")
    shares = torch.tensor(list(kinds.values()), dtype=torch.float64)
    return KINDS[list(kinds)[int(torch.multinomial(shares, 1, generator=generator))]](rows, columns, generator)


def _grid(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return torch.arange(rows)[:, None].expand(rows, columns), torch.arange(columns)[None].expand(rows, columns)


def _segment(y: Tensor, x: Tensor, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
    """Distance of each pixel to a segment."""
    dy, dx = end[0] - start[0], end[1] - start[1]
    along = ((y - start[0]) * dy + (x - start[1]) * dx) / max(dy * dy + dx * dx, 1e-9)
    along = along.clamp(0, 1)
    return torch.sqrt((y - start[0] - along * dy) ** 2 + (x - start[1] - along * dx) ** 2)


def _integer(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(max(n, 1), (), generator=generator))
