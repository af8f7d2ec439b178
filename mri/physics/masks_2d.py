"""Masks with a density that falls from the centre: Gaussian points and lines, Poisson discs, radial spokes on the grid.

Poisson discs: points no nearer to each other than a radius that grows linearly from the centre, by dart throwing in
random order (Bridson 2007, doi:10.1145/1278780.1278807, for the family); spokes turn by the golden angle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError

Seed = int | Sequence[int]
GOLDEN = math.pi * (math.sqrt(5) - 1) / 2


def gaussian(
    shape: tuple[int, int], *, acceleration: float, centre_fraction: float, seed: Seed, width: float = 0.3
) -> Tensor:
    """Points drawn without replacement from a Gaussian around the centre, over a fully sampled rectangle.

    Parameters
    ----------
    shape
        (y, x) of k-space.
    acceleration
        Above 1; exactly round(y x / acceleration) points are sampled.
    centre_fraction
        Of rows and of columns, fully sampled in the middle.
    seed
        Of a stream of its own.
    width
        Standard deviation, in halves of k-space.

    Returns
    -------
    Tensor
        bool [y, x].

    Raises
    ------
    UsageError
        If the acceleration is not above 1, or the centre alone is more than it allows.
    """
    mask = _centre(shape, centre_fraction)
    missing = _budget(mask, acceleration)
    y, x = _radii(shape)
    log_density = -0.5 * (y[:, None] ** 2 + x[None, :] ** 2) / width**2
    return torch.from_numpy(_draw(mask, log_density, missing, np.random.default_rng(seed)))


def gaussian_lines(
    shape: tuple[int, int], *, acceleration: float, centre_fraction: float, seed: Seed, width: float = 0.3
) -> Tensor:
    """Columns drawn without replacement from a Gaussian around the centre.

    Parameters
    ----------
    shape, acceleration, centre_fraction, seed, width
        As for `gaussian`, of columns.

    Returns
    -------
    Tensor
        bool [1, x].

    Raises
    ------
    UsageError
        As for `gaussian`.
    """
    mask = _centre((1, shape[1]), centre_fraction)
    missing = _budget(mask, acceleration)
    log_density = -0.5 * _radii(shape)[1][None, :] ** 2 / width**2
    return torch.from_numpy(_draw(mask, log_density, missing, np.random.default_rng(seed)))


def poisson(
    shape: tuple[int, int], *, acceleration: float, centre_fraction: float, seed: Seed, growth: float = 2.0
) -> Tensor:
    """Points that keep a distance from each other, which grows from the centre outwards.

    Parameters
    ----------
    shape, acceleration, centre_fraction, seed
        As for `gaussian`.
    growth
        The radius at the end of an axis is 1 + `growth` times that at the centre.

    Returns
    -------
    Tensor
        bool [y, x].

    Raises
    ------
    UsageError
        As for `gaussian`.
    """
    centre = _centre(shape, centre_fraction)
    missing = _budget(centre, acceleration)
    rng = np.random.default_rng(seed)
    order = rng.permutation(centre.size)
    y, x = _radii(shape)
    relative = 1 + growth * np.sqrt(y[:, None] ** 2 + x[None, :] ** 2)
    low, high = (
        0.0,
        math.sqrt(acceleration) * 2,
    )  # the centre's radius: more points than wanted at `low`, fewer at `high`
    for _ in range(8):
        middle = (low + high) / 2
        if _throw(centre, middle * relative, order).sum() - centre.sum() >= missing:
            low = middle
        else:
            high = middle
    thrown = _throw(centre, low * relative, order)
    outside = rng.permutation(np.flatnonzero(thrown & ~centre))
    thrown.flat[outside[missing:]] = False
    return torch.from_numpy(thrown)


def radial(shape: tuple[int, int], *, acceleration: float, centre_fraction: float, seed: Seed) -> Tensor:
    """Spokes through the centre, each turned by the golden angle, rounded to the grid.

    Parameters
    ----------
    shape, acceleration, centre_fraction
        As for `gaussian`; spokes are added as long as no more than y x / acceleration points are sampled.
    seed
        Of the angle of the first spoke.

    Returns
    -------
    Tensor
        bool [y, x].

    Raises
    ------
    UsageError
        As for `gaussian`.
    """
    mask = _centre(shape, centre_fraction)
    allowed = mask.sum() + _budget(mask, acceleration)
    angle = np.random.default_rng(seed).uniform(0, math.pi)
    height, width = shape
    reach = np.linspace(-1, 1, 2 * max(shape) + 1)
    for _ in range(4 * max(shape)):
        rows = np.rint(height // 2 + reach * (height / 2) * math.sin(angle)).astype(int).clip(0, height - 1)
        columns = np.rint(width // 2 + reach * (width / 2) * math.cos(angle)).astype(int).clip(0, width - 1)
        grown = mask.copy()
        grown[rows, columns] = True
        if grown.sum() > allowed:
            break
        mask, angle = grown, angle + GOLDEN
    return torch.from_numpy(mask)


def _centre(shape: tuple[int, int], fraction: float) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    spans = []
    for n in shape:
        low = max(1, round(n * fraction)) if n > 1 else 1
        start = (n - low + 1) // 2
        spans.append(slice(start, start + low))
    mask[tuple(spans)] = True
    return mask


def _budget(centre: np.ndarray, acceleration: float) -> int:
    """How many points to add."""
    if not acceleration > 1:
        raise UsageError(f"expected an acceleration above 1, got {acceleration}")
    missing = round(centre.size / acceleration) - int(centre.sum())
    if missing < 0:
        raise UsageError(
            f"expected a centre of at most 1/{acceleration:g} of k-space, got {int(centre.sum())} of {centre.size}: "
            f"give a smaller centre_fraction or acceleration"
        )
    return missing


def _radii(shape: tuple[int, int]) -> list[np.ndarray]:
    """Distance from the centre along each axis, in halves of k-space."""
    return [(np.arange(n) - n // 2) / max(1, n // 2) for n in shape]


def _draw(mask: np.ndarray, log_density: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` more points without replacement, by the largest of log density + Gumbel noise."""
    score = np.where(mask, -np.inf, log_density + rng.gumbel(size=mask.shape))
    out = mask.copy()
    out.flat[np.argsort(score, axis=None, kind="stable")[mask.size - count :]] = True
    return out


def _throw(centre: np.ndarray, radius: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Take points in order, each blocking a disc of its radius around it."""
    height, width = centre.shape
    taken, blocked = centre.copy(), centre.copy()
    discs: dict[int, np.ndarray] = {}
    for flat in order:
        y, x = divmod(int(flat), width)
        if blocked[y, x]:
            continue
        taken[y, x] = True
        r2 = int(radius[y, x] ** 2)
        r = math.isqrt(r2)
        if r2 not in discs:
            span = np.arange(-r, r + 1) ** 2
            discs[r2] = span[:, None] + span[None, :] <= r2
        top, left = max(0, y - r), max(0, x - r)
        bottom, right = min(height, y + r + 1), min(width, x + r + 1)
        blocked[top:bottom, left:right] |= discs[r2][top - y + r : bottom - y + r, left - x + r : right - x + r]
    return taken
