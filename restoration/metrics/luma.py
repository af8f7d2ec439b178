"""What is measured of a picture: its luma as papers on super-resolution take it, and its inside.

Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255     for values up to 255 (ITU-R BT.601, as MATLAB's rgb2ycbcr)
"""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError

WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255


def luma(x: np.ndarray, *, data_range: float) -> np.ndarray:
    """The Y channel.

    Parameters
    ----------
    x
        [rows, columns], returned as it is, or [rows, columns, 1 or 3].
    data_range
        The value of white.

    Returns
    -------
    numpy.ndarray
        float64 [rows, columns], 16/255 to 235/255 of `data_range` for colours.

    Raises
    ------
    UsageError
        If it has another shape.
    """
    x = pictured(x)
    if x.shape[2] == 1:
        return x[:, :, 0]
    return x @ WEIGHTS + data_range * 16 / 255


def pictured(x: np.ndarray) -> np.ndarray:
    """float64 [rows, columns, 1 or 3].

    Raises
    ------
    UsageError
        If it has another shape.
    """
    x = np.asarray(x, np.float64)
    x = x[:, :, None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[2] not in (1, 3) or 0 in x.shape:
        raise UsageError(f"expected [rows, columns] or [rows, columns, 1 or 3], got {list(x.shape)}")
    return x


def cropped(x: np.ndarray, border: int) -> np.ndarray:
    """Without `border` pixels at each side.

    Raises
    ------
    UsageError
        If nothing is left.
    """
    if min(x.shape[:2]) <= 2 * border or border < 0:
        raise UsageError(f"cannot crop {border} pixels at each side of {list(x.shape[:2])}")
    return x[border : x.shape[0] - border, border : x.shape[1] - border]


def paired(x: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [rows, columns, channels] of one shape.

    Raises
    ------
    UsageError
        If their shapes differ.
    """
    a, b = pictured(x), pictured(reference)
    if a.shape != b.shape:
        raise UsageError(f"expected two pictures of one shape, got {list(a.shape)} and {list(b.shape)}")
    return a, b
