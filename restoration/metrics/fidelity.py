"""Peak signal-to-noise ratio: 10 log10(range² / mean squared error)."""

from __future__ import annotations

import numpy as np

from fewstep.restoration.metrics.luma import paired


def psnr(x: np.ndarray, reference: np.ndarray, *, data_range: float) -> float:
    """In dB, over all channels together.

    Parameters
    ----------
    x, reference
        [rows, columns] or [rows, columns, 1 or 3].
    data_range
        The value of white.

    Returns
    -------
    float
        inf for equal pictures.

    Raises
    ------
    UsageError
        If the shapes differ.
    """
    a, b = paired(x, reference)
    error = float(np.square(a - b).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(data_range**2 / error))
