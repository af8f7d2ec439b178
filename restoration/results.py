"""What a restorer gives: one picture, or several samples with their mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.restoration.kinds import Raster


@dataclass(frozen=True)
class Restored:
    """What came out.

    Parameters
    ----------
    image
        Of the kind that went in.
    nfe
        Network calls for each pixel.
    warnings
        What the user should know.
    """

    image: Any
    nfe: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draws:
    """Several samples of one picture.

    Parameters
    ----------
    samples
        Each of the kind that went in.
    mean
        Their average, likewise.
    std
        Standard deviation over them, root mean square over the colours, white being 1: float32 [rows, columns], an
        array, or a tensor if one went in.
    nfe
        Network calls for each pixel, in all.
    warnings
        What the user should know.
    """

    samples: list[Any]
    mean: Any
    std: Any
    nfe: int
    warnings: tuple[str, ...] = ()


def statistics(drawn: list[Raster]) -> tuple[Raster, np.ndarray]:
    """Mean of rasters and their standard deviation.

    Parameters
    ----------
    drawn
        At least two of one shape.

    Returns
    -------
    mean : Raster
        In their dtype, with the transparency of the first.
    std : numpy.ndarray
        float32 [rows, columns], root mean square over the colours, white being 1.
    """
    first = drawn[0]
    total = np.zeros(first.pixels.shape, np.float64)
    square = np.zeros(first.pixels.shape, np.float64)
    for one in drawn:
        values = one.pixels / first.top
        total += values
        square += values**2
    n, average = len(drawn), total / len(drawn)
    variance = np.maximum(square / n - average**2, 0) * n / (n - 1)
    scaled = average * first.top
    pixels = (np.rint(scaled) if first.pixels.dtype.kind == "u" else scaled).astype(first.pixels.dtype)
    return Raster(pixels, first.alpha), np.sqrt(variance.mean(2)).astype(np.float32)
