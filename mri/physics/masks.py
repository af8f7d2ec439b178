"""Which columns of k-space to sample: random, equispaced and magic masks, equal bit by bit to those of `fastmri`.

A mask is a fully sampled centre of round(columns · centre_fraction) columns and, over it, columns for the acceleration.
Zbontar et al. 2018, arXiv:1811.08839, section 4; magic: Defazio 2019, arXiv:1912.01101. `make` knows every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fewstep.core.build import did_you_mean
from fewstep.core.errors import UsageError
from fewstep.mri.physics.masks_2d import gaussian, gaussian_lines, poisson, radial

Seed = int | Sequence[int]


def random(shape: tuple[int, int], *, acceleration: float, centre_fraction: float, seed: Seed) -> Tensor:
    """Each column outside of the centre with the probability that gives columns / acceleration in the mean.

    Parameters
    ----------
    shape
        (y, x) of k-space; columns x are chosen.
    acceleration
        Above 1.
    centre_fraction
        Of the columns, fully sampled in the middle.
    seed
        A number, or several as fastMRI makes them of a file's name.

    Returns
    -------
    Tensor
        bool [1, x].

    Raises
    ------
    UsageError
        If the acceleration is not above 1, or the centre holds no column or all.
    """
    columns, low, rng = _begin(shape, acceleration, centre_fraction, seed)
    probability = (columns / acceleration - low) / (columns - low)
    return _with_centre(rng.uniform(size=columns) < probability, low)


def equispaced(
    shape: tuple[int, int], *, acceleration: int, centre_fraction: float, seed: Seed, offset: int | None = None
) -> Tensor:
    """Every `acceleration`-th column, as for GRAPPA; with the centre, more than 1 / acceleration of them.

    Parameters
    ----------
    shape, acceleration, centre_fraction, seed
        As for `random`; the acceleration is whole.
    offset
        The first column; None draws it.

    Returns
    -------
    Tensor
        bool [1, x].

    Raises
    ------
    UsageError
        As for `random`, or if the acceleration is not whole.
    """
    columns, low, rng = _begin(shape, acceleration, centre_fraction, seed, whole=True)
    first = rng.randint(0, high=int(acceleration)) if offset is None else offset
    chosen = np.zeros(columns, dtype=bool)
    chosen[first :: int(acceleration)] = True
    return _with_centre(chosen, low)


def equispaced_fraction(
    shape: tuple[int, int], *, acceleration: float, centre_fraction: float, seed: Seed, offset: int | None = None
) -> Tensor:
    """Columns at a distance that gives columns / acceleration together with the centre; rounded, so not quite even.

    Parameters
    ----------
    shape, acceleration, centre_fraction, seed, offset
        As for `equispaced`; the acceleration need not be whole.

    Returns
    -------
    Tensor
        bool [1, x].

    Raises
    ------
    UsageError
        As for `random`, or if the centre alone is more than the acceleration allows.
    """
    columns, low, rng = _begin(shape, acceleration, centre_fraction, seed)
    if low * acceleration >= columns:
        raise UsageError(
            f"expected a centre of fewer than {columns} / {acceleration:g} columns, got {low}: "
            f"give a smaller centre_fraction or acceleration"
        )
    distance = (acceleration * (low - columns)) / (low * acceleration - columns)
    first = rng.randint(0, high=round(distance)) if offset is None else offset
    chosen = np.zeros(columns, dtype=bool)
    chosen[np.around(np.arange(first, columns - 1, distance)).astype(np.int64)] = True
    return _with_centre(chosen, low)


def magic(
    shape: tuple[int, int], *, acceleration: int, centre_fraction: float, seed: Seed, offset: int | None = None
) -> Tensor:
    """Equispaced columns whose mirror images about the centre are not sampled too.

    Parameters
    ----------
    shape, acceleration, centre_fraction, seed, offset
        As for `equispaced`.

    Returns
    -------
    Tensor
        bool [1, x].

    Raises
    ------
    UsageError
        As for `equispaced`.
    """
    columns, low, rng = _begin(shape, acceleration, centre_fraction, seed, whole=True)
    return _with_centre(_offset_columns(columns, int(acceleration), rng, offset), low)


def magic_fraction(
    shape: tuple[int, int], *, acceleration: int, centre_fraction: float, seed: Seed, offset: int | None = None
) -> Tensor:
    """`magic`, with an acceleration of its columns that gives columns / acceleration together with the centre.

    Parameters
    ----------
    shape, acceleration, centre_fraction, seed, offset
        As for `equispaced`.

    Returns
    -------
    Tensor
        bool [1, x].

    Raises
    ------
    UsageError
        As for `equispaced`, or if nothing is left for columns outside of the centre.
    """
    columns, low, rng = _begin(shape, acceleration, centre_fraction, seed, whole=True)
    target = round(columns / acceleration)
    low = max(min(low, target), 1)
    if target <= low:
        raise UsageError(
            f"expected a centre of fewer than {target} columns of {columns} at {acceleration:g}x, got {low}: "
            f"give a smaller centre_fraction"
        )
    return _with_centre(_offset_columns(columns, round(columns / (target - low)), rng, offset), low)


KINDS: dict[str, Callable[..., Tensor]] = {
    "random": random,
    "equispaced": equispaced,
    "equispaced_fraction": equispaced_fraction,
    "magic": magic,
    "magic_fraction": magic_fraction,
    "gaussian": gaussian,
    "gaussian_lines": gaussian_lines,
    "poisson": poisson,
    "radial": radial,
}


def make(kind: str, shape: tuple[int, int], *, acceleration: float, centre_fraction: float, seed: Seed) -> Tensor:
    """A mask of a kind.

    Parameters
    ----------
    kind
        A key of `KINDS`.
    shape, acceleration, centre_fraction, seed
        As for `random`.

    Returns
    -------
    Tensor
        bool [1, x] if it chooses columns, else [y, x].

    Raises
    ------
    UsageError
        If there is no such kind, or as that kind says.
    """
    if kind not in KINDS:
        raise UsageError(f"no such mask{did_you_mean(kind, KINDS)} (one of {', '.join(KINDS)}), got {kind!r}")
    return KINDS[kind](shape, acceleration=acceleration, centre_fraction=centre_fraction, seed=seed)


def _begin(
    shape: tuple[int, int], acceleration: float, centre_fraction: float, seed: Seed, whole: bool = False
) -> tuple[int, int, np.random.RandomState]:
    columns = shape[-1]
    low = round(columns * centre_fraction)
    if not acceleration > 1 or (whole and acceleration != int(acceleration)):
        raise UsageError(f"expected {'a whole ' if whole else 'an '}acceleration above 1, got {acceleration}")
    if not 0 < low < columns:
        raise UsageError(
            f"expected a centre of at least one of {columns} columns and not all, got a centre_fraction of "
            f"{centre_fraction}, {low} columns"
        )
    rng = np.random.RandomState(seed)
    rng.randint(1)  # fastMRI draws which of its (here: one) accelerations to take
    return columns, low, rng


def _offset_columns(columns: int, acceleration: int, rng: np.random.RandomState, offset: int | None) -> np.ndarray:
    first = rng.randint(0, high=acceleration) if offset is None else offset
    right, left = (first + 1, first + 2) if first % 2 == 0 else (first + 2, first - 1)
    half = (columns + 1) // 2
    positive, negative = np.zeros(half, dtype=bool), np.zeros(columns - half, dtype=bool)
    positive[right::acceleration] = True
    negative[left::acceleration] = True
    return np.fft.fftshift(np.concatenate((positive, negative[::-1])))


def _with_centre(chosen: np.ndarray, low: int) -> Tensor:
    start = (len(chosen) - low + 1) // 2
    chosen[start : start + low] = True
    return torch.from_numpy(chosen.copy()).unsqueeze(0)
