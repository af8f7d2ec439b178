"""NIQE: how far a picture's statistics are from those of good photographs; lower is more natural, no reference needed.

    NIQE = sqrt((m − m_p)ᵀ ((C + C_p) / 2)⁺ (m − m_p)),    m, C: mean and covariance of 36 features over patches

Mittal, Soundararajan & Bovik 2013, doi:10.1109/LSP.2012.2227726. Features (doi:10.1109/TIP.2012.2214050): asymmetric
generalised Gaussians of the locally normalised luma and of products of its neighbours, at two scales. The pristine m_p
and C_p are fitted to the 24 Kodak pictures, see the card beside them: values are not those of papers.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.restoration.metrics.luma import luma

PATCH = 96
"""Pixels on a side of a patch at the first scale."""

SHARP = 0.75
"""Patches less sharp than this part of the sharpest are left out of the pristine statistics."""

SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


def niqe(x: np.ndarray, *, data_range: float, pristine: tuple[np.ndarray, np.ndarray] | None = None) -> float:
    """Distance from good photographs.

    Parameters
    ----------
    x
        [rows, columns] or [rows, columns, 1 or 3], at least 96 pixels a side, better several times as much.
    data_range
        The value of white.
    pristine
        Mean [36] and covariance [36, 36] of other photographs; default those that ship.

    Returns
    -------
    float

    Raises
    ------
    UsageError
        If the picture is smaller than a patch, or flat.
    """
    found, _ = features(x, data_range=data_range)
    found = found[np.isfinite(found).all(1)]
    if not len(found):
        raise UsageError("NIQE is not defined for a flat picture")
    mean, covariance = shipped() if pristine is None else pristine
    own = np.cov(found, rowvar=False) if len(found) > 1 else np.zeros((36, 36))
    away = found.mean(0) - mean
    return float(np.sqrt(away @ np.linalg.pinv((covariance + own) / 2) @ away))


def fit(pictures: Iterable[np.ndarray], *, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean [36] and covariance [36, 36] of the sharp patches of good photographs.

    Parameters
    ----------
    pictures
        As for `niqe`.
    data_range
        The value of white.
    """
    kept = []
    for picture in pictures:
        found, sharpness = features(picture, data_range=data_range)
        kept.append(found[sharpness > SHARP * sharpness.max()])
    all_of = np.concatenate(kept)
    all_of = all_of[np.isfinite(all_of).all(1)]
    return all_of.mean(0), np.cov(all_of, rowvar=False)


def features(x: np.ndarray, *, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Features of all patches [patches, 36], and their sharpness [patches]."""
    import torch

    from fewstep.restoration.degrade.imresize import imresize

    y = np.round(luma(x, data_range=data_range) * 255 / data_range)
    rows, columns = y.shape[0] // PATCH, y.shape[1] // PATCH
    if not rows or not columns:
        raise UsageError(f"expected at least {PATCH} pixels a side for NIQE, got {list(y.shape)}")
    y = y[: rows * PATCH, : columns * PATCH]
    scales, sharpness = [], np.zeros(0)
    for size in (PATCH, PATCH // 2):
        normal, deviation = _normalised(y)
        patches = _cut(normal, size)
        scales.append(np.stack([_of_patch(patch) for patch in patches]))
        if size == PATCH:
            sharpness = _cut(deviation, size).mean((1, 2))
            y = imresize(torch.from_numpy(y / 255), 0.5).numpy() * 255
    return np.concatenate(scales, axis=1), sharpness


@lru_cache(maxsize=1)
def shipped() -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the Kodak pictures."""
    from safetensors.numpy import load_file

    found = load_file(Path(str(resources.files("fewstep.weights"))) / "niqe" / "pristine.safetensors")
    return found["mean"], found["covariance"]


def _normalised(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import correlate1d

    window = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window /= window.sum()

    def smooth(values: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(values, window, 0, mode="nearest"), window, 1, mode="nearest")

    mean = smooth(y)
    deviation = np.sqrt(np.abs(smooth(y * y) - mean * mean))
    return (y - mean) / (deviation + 1), deviation


def _cut(x: np.ndarray, size: int) -> np.ndarray:
    rows, columns = x.shape[0] // size, x.shape[1] // size
    return x.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)


def _of_patch(patch: np.ndarray) -> np.ndarray:
    shape, left, right = _asymmetric(patch.ravel())
    found = [shape, (left + right) / 2]
    for shift in SHIFTS:
        shape, left, right = _asymmetric((patch * np.roll(patch, shift, (0, 1))).ravel())
        mean = (right - left) * _gamma_ratio()[2][_index(shape)]
        found += [shape, mean, left, right]
    return np.array(found)


def _asymmetric(x: np.ndarray) -> tuple[float, float, float]:
    """Shape and the two scales of the asymmetric generalised Gaussian with the moments of `x`."""
    shapes, ratios, _ = _gamma_ratio()
    left, right = (float(np.sqrt(np.square(part).mean())) if len(part) else 0.0 for part in (x[x < 0], x[x > 0]))
    if left == 0 or right == 0:
        return np.nan, np.nan, np.nan
    g = left / right
    r = np.abs(x).mean() ** 2 / np.square(x).mean()
    r *= (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    i = int(np.argmin(np.square(ratios - r)))
    shape = float(shapes[i])
    from scipy.special import gamma

    beta = float(np.sqrt(gamma(1 / shape) / gamma(3 / shape)))
    return shape, left * beta, right * beta


def _index(shape: float) -> int:
    return 0 if np.isnan(shape) else round((shape - 0.2) * 1000)


@lru_cache(maxsize=1)
def _gamma_ratio() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.special import gamma

    shapes = np.arange(0.2, 10.001, 0.001)
    ones, twos, threes = gamma(1 / shapes), gamma(2 / shapes), gamma(3 / shapes)
    return shapes, twos**2 / (ones * threes), twos / ones
