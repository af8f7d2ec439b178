"""A picture in memory: gray or RGB in 8 or 16 bits, perhaps transparent, upright; and what its file said beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.restoration.picture import colour

DTYPES = {8: np.uint8, 16: np.uint16}


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels and what belongs to them.

    Parameters
    ----------
    pixels
        uint8 or uint16 [rows, columns, 1 (gray) or 3 (RGB)].
    alpha
        [rows, columns] of the same dtype, 0 is transparent; None: opaque.
    format
        Of its file, as Pillow calls it.
    exif
        As in JPEG's APP1, beginning with ``Exif``; its orientation is 1, for the pixels are upright.
    icc
        Colour profile; None: sRGB, or unknown.
    dpi
        Dots per inch.
    warnings
        What reading changed.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def bits(self) -> int:
        """8 or 16."""
        return 8 * self.pixels.itemsize

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


def of_pil(image: Any) -> Picture:
    """The pixels of a Pillow image of any mode but the floating-point one.

    Parameters
    ----------
    image
        `PIL.Image.Image`; its EXIF orientation is not applied here, see `read`.

    Returns
    -------
    Picture

    Raises
    ------
    UsageError
        If its values have no known range.
    """
    warnings: list[str] = []
    icc = image.info.get("icc_profile")
    if image.mode in ("CMYK", "LAB", "HSV", "YCbCr"):
        warnings.append(f"{image.mode} was converted to sRGB")
        image, icc = colour.to_srgb(image), None
    if image.mode in ("F", "I"):
        raise UsageError(f"pixels of mode {image.mode} have no known range: expected 8 or 16 bits a channel")
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA" if "transparency" in image.info or _clear_palette(image) else "RGB")
    if image.mode in ("RGBa", "La", "PA", "RGBX"):
        image = image.convert({"La": "LA", "RGBX": "RGB"}.get(image.mode, "RGBA"))
    if image.mode == "1":
        image = image.convert("L")
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        values = values.astype(np.uint16)
    if values.ndim == 2:
        values = values[:, :, None]
    colours = 1 if values.shape[2] < 3 else 3
    alpha = values[:, :, colours] if values.shape[2] > colours else None
    return Picture(np.ascontiguousarray(values[:, :, :colours]), alpha, icc=icc, warnings=tuple(warnings))


def to_pil(picture: Picture) -> Any:
    """A Pillow image: L, LA, RGB, RGBA, or I;16 for gray of 16 bits.

    Parameters
    ----------
    picture
        16 bits only in opaque gray: Pillow has no other.

    Raises
    ------
    UsageError
        If it has 16 bits and is not opaque gray.
    """
    from PIL import Image

    pixels, alpha = picture.pixels, picture.alpha
    if picture.bits == 16 and (alpha is not None or pixels.shape[2] == 3):
        raise UsageError("Pillow has 16 bits in opaque gray only: use 8 bits, or an array")
    whole = pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], axis=2)
    return Image.fromarray(whole[:, :, 0] if whole.shape[2] == 1 else whole)


def with_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """uint8 or uint16 in the other of both: white stays white.

    Parameters
    ----------
    values
        uint8 or uint16, any shape.
    bits
        8 or 16.

    Returns
    -------
    numpy.ndarray
    """
    have = 8 * values.itemsize
    if have == bits:
        return values
    if bits == 16:
        return values.astype(np.uint16) * 257
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _clear_palette(image: Any) -> bool:
    return image.palette is not None and image.palette.mode == "RGBA"
