"""Pictures for people: PNG of one slice, and a contact sheet of a volume."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from fewstep.core.files import replacing


def png(values: np.ndarray, *, low: float, high: float, cmap: str = "gray") -> bytes:
    """One picture as PNG.

    Parameters
    ----------
    values
        Real [rows, columns].
    low, high
        Shown as the first and the last colour.
    cmap
        A colour map of matplotlib's.

    Returns
    -------
    bytes
    """
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, np.nan_to_num(values), vmin=low, vmax=max(high, low + 1e-30), cmap=cmap, format="png")
    return stream.getvalue()


def write_sheet(file: Path, volume: np.ndarray, *, most: int = 36, width: int = 256) -> None:
    """A contact sheet of slices in order, row by row.

    Parameters
    ----------
    file
        `.png`.
    volume
        Real [slice, rows, columns]; all slices share one scale, up to the 99.5th percentile.
    most
        Slices; more are thinned out evenly.
    width
        Pixels of one picture at most; larger ones are thinned out.
    """
    chosen = volume[np.unique(np.linspace(0, len(volume) - 1, min(most, len(volume))).round().astype(int))]
    step = max(1, math.ceil(max(chosen.shape[1:]) / width)) if len(chosen) > 1 else 1
    chosen = chosen[:, ::step, ::step]
    across = math.ceil(math.sqrt(len(chosen)))
    down = math.ceil(len(chosen) / across)
    sheet = np.zeros((down * chosen.shape[1], across * chosen.shape[2]), np.float32)
    for i, picture in enumerate(chosen):
        y, x = (i // across) * chosen.shape[1], (i % across) * chosen.shape[2]
        sheet[y : y + chosen.shape[1], x : x + chosen.shape[2]] = picture
    with replacing(file) as temporary:
        temporary.write_bytes(png(sheet, low=0.0, high=float(np.percentile(volume, 99.5))))
