"""Gradient magnitude similarity deviation: how unevenly edges differ; 0 is equal, higher is worse.

    GMS = (2 g_x g_y + T) / (g_x² + g_y² + T),   GMSD = std(GMS),   T = 170 for values up to 255

Xue et al. 2014, doi:10.1109/TIP.2013.2293423, eq. 1-6: Prewitt gradients of the picture at half size.
"""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.restoration.metrics.luma import luma, paired

T = 170.0


def gmsd(x: np.ndarray, reference: np.ndarray, *, data_range: float) -> float:
    """Of the lumas.

    Parameters
    ----------
    x, reference
        [rows, columns] or [rows, columns, 1 or 3], at least 6 pixels a side.
    data_range
        The value of white.

    Returns
    -------
    float

    Raises
    ------
    UsageError
        If the shapes differ or the picture is too small.
    """
    a, b = paired(x, reference)
    if min(a.shape[:2]) < 6:
        raise UsageError(f"expected at least 6 pixels a side for GMSD, got {list(a.shape[:2])}")
    one, other = (_gradient(luma(p, data_range=data_range) * 255 / data_range) for p in (a, b))
    return float(((2 * one * other + T) / (one**2 + other**2 + T)).std())


def _gradient(y: np.ndarray) -> np.ndarray:
    from scipy.ndimage import prewitt

    y = y[: y.shape[0] // 2 * 2, : y.shape[1] // 2 * 2]
    half = (y[::2, ::2] + y[1::2, ::2] + y[::2, 1::2] + y[1::2, 1::2]) / 4
    return np.hypot(prewitt(half, 0) / 3, prewitt(half, 1) / 3)
