"""Structural similarity with a Gaussian window of 11 pixels (sigma 1.5), inside of the picture only; and multi-scale.

    SSIM = l · cs,  l = (2 m_x m_y + C1) / (m_x² + m_y² + C1),  cs = (2 s_xy + C2) / (s_x² + s_y² + C2)

Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13. Wang, Simoncelli & Bovik 2003, doi:10.1109/ACSSC.2003.1292216,
eq. 7.
"""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.restoration.metrics.luma import paired

RADIUS, SIGMA, K1, K2 = 5, 1.5, 0.01, 0.03
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(x: np.ndarray, reference: np.ndarray, *, data_range: float) -> float:
    """Mean over the picture and its channels.

    Parameters
    ----------
    x, reference
        [rows, columns] or [rows, columns, 1 or 3], at least 11 pixels a side.
    data_range
        The value of white.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    UsageError
        If the shapes differ or the picture is too small.
    """
    a, b = paired(x, reference)
    return float(np.mean([_parts(a[:, :, c], b[:, :, c], data_range)[0] for c in range(a.shape[2])]))


def ms_ssim(x: np.ndarray, reference: np.ndarray, *, data_range: float) -> float:
    """Over five scales.

    Parameters
    ----------
    x, reference
        As for `ssim`, at least 161 pixels a side.
    data_range
        The value of white.

    Returns
    -------
    float
        At most 1; a scale that is anticorrelated counts as 0.

    Raises
    ------
    UsageError
        If the shapes differ or the picture is too small.
    """
    a, b = paired(x, reference)
    smallest = 2 * RADIUS * 2 ** (len(SCALES) - 1)
    if min(a.shape[:2]) <= smallest:
        raise UsageError(f"expected more than {smallest} pixels a side for MS-SSIM, got {list(a.shape[:2])}")
    values = []
    for c in range(a.shape[2]):
        one, other, product = a[:, :, c], b[:, :, c], 1.0
        for i, weight in enumerate(SCALES):
            full, contrast = _parts(one, other, data_range)
            product *= max(full if i == len(SCALES) - 1 else contrast, 0.0) ** weight
            one, other = _halved(one), _halved(other)
        values.append(product)
    return float(np.mean(values))


def _parts(a: np.ndarray, b: np.ndarray, data_range: float) -> tuple[float, float]:
    if min(a.shape) < 2 * RADIUS + 1:
        raise UsageError(f"expected at least {2 * RADIUS + 1} pixels a side for SSIM, got {list(a.shape)}")
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_a, mean_b = _smooth(a), _smooth(b)
    var_a, var_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    shared = _smooth(a * b) - mean_a * mean_b
    contrast = (2 * shared + c2) / (var_a + var_b + c2)
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float((light * contrast).mean()), float(contrast.mean())


def _smooth(x: np.ndarray) -> np.ndarray:
    from scipy.ndimage import correlate1d

    window = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    window /= window.sum()
    inner = slice(RADIUS, -RADIUS)
    return correlate1d(correlate1d(x, window, 0), window, 1)[inner, inner]


def _halved(x: np.ndarray) -> np.ndarray:
    x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
