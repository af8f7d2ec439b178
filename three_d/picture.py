"""A user's picture as the nets know pictures: one object, cut out, in the middle, as large as in the pictures that were
trained on. Without transparency, a plain background is taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError

FRAMED = 0.59
"""Longest side of the object as a share of the picture: the mean over views of the corpus (0.588, deviation 0.058)."""
NEAR, SAME = 20, 3
"""Difference, of 255, within which a pixel next to the background is background, and within which any pixel is."""
PLAIN = 0.9
"""Share of the border that must have one colour."""
INSTEAD = "cut the object out (a PNG with transparency), or take its picture before a plain background"


def read(image: Any, *, size: int) -> np.ndarray:
    """Make a picture ready.

    Parameters
    ----------
    image
        A file, a Pillow image, or an array: uint8 or floats from 0 to 1, [rows, columns] or [rows, columns, 3 or 4].
    size
        P, pixels a side of the result.

    Returns
    -------
    numpy.ndarray
        float32 [P, P, 4], sRGB and coverage from 0 to 1; 0 where nothing is.

    Raises
    ------
    UsageError
        If it cannot be read, has no transparency and no plain background, or is empty.
    """
    pixels = _opened(image)
    if pixels[..., 3].min() == 255:
        pixels = _cut_out(pixels)
    rows, columns = np.nonzero(pixels[..., 3] > 127)
    if not len(rows):
        raise UsageError("the picture is transparent throughout: nothing to make a shape of")
    cut = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32) / 255
    return _framed(cut, size)


def _opened(image: Any) -> np.ndarray:
    """uint8 [rows, columns, 4]."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(image, (str, Path)):
        if not Path(image).is_file():
            raise UsageError(f"{image}: there is no such picture")
        try:
            with Image.open(image) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGBA")
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise UsageError(f"{image} cannot be read as a picture ({error})") from None
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGBA"))
    values = np.asarray(image)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, 2)
    if values.ndim != 3 or values.shape[2] not in (3, 4) or not values.size:
        raise UsageError(f"expected a picture [rows, columns, 3 or 4], got {list(values.shape)}")
    if values.dtype != np.uint8:
        if values.dtype.kind != "f" or not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise UsageError(f"expected a picture of uint8, or of floats from 0 to 1, got {values.dtype}")
        values = np.rint(values * 255).astype(np.uint8)
    return values if values.shape[2] == 4 else np.dstack([values, np.full(values.shape[:2], 255, np.uint8)])


def _cut_out(pixels: np.ndarray) -> np.ndarray:
    """Make the plain background transparent: what is like the border and joined to it, or just like the border."""
    from scipy import ndimage

    colour = pixels[..., :3].astype(np.int16)
    border = np.concatenate([colour[0], colour[-1], colour[:, 0], colour[:, -1]])
    middle = np.median(border, 0)
    off = np.abs(colour - middle).max(2)
    if (np.abs(border - middle).max(1) <= NEAR).mean() < PLAIN:
        raise UsageError(f"the picture has no transparency and no plain background: {INSTEAD}")
    regions, _ = ndimage.label(off <= NEAR)
    outer = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    behind = np.isin(regions, outer[outer > 0]) | (off <= SAME)
    if behind.all():
        raise UsageError(f"nothing stands out from the background of the picture: {INSTEAD}")
    return np.dstack([pixels[..., :3], np.where(behind, 0, 255).astype(np.uint8)])


def _framed(cut: np.ndarray, size: int) -> np.ndarray:
    """Scale by areas and put in the middle."""
    from PIL import Image

    scale = FRAMED * size / max(cut.shape[:2])
    rows, columns = (max(1, round(side * scale)) for side in cut.shape[:2])
    cut = cut.copy()
    cut[..., :3] *= cut[..., 3:]
    way = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    channels = [np.asarray(Image.fromarray(cut[..., k]).resize((columns, rows), way)) for k in range(4)]
    small = np.stack(channels, 2)
    small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
    small[small[..., 3] < 1 / 255] = 0
    out = np.zeros((size, size, 4), np.float32)
    top, left = (size - rows) // 2, (size - columns) // 2
    out[top : top + rows, left : left + columns] = small.clip(0, 1)
    return out
