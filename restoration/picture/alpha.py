"""Transparency: what is hidden gets the colour of what is seen nearest to it, so that it cannot bleed into edges."""

from __future__ import annotations

import numpy as np


def bled(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours of fully transparent pixels replaced by those of the nearest pixels that are seen.

    Parameters
    ----------
    pixels
        [rows, columns, channels].
    alpha
        [rows, columns]; 0 is transparent.

    Returns
    -------
    numpy.ndarray
        Like `pixels`; the same where nothing, or everything, is seen.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return pixels[rows, columns]
