"""Read a picture file: by its content, upright, with all of its bits; what cannot be read is said in one line."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.restoration.picture import exif as exif_bytes
from fewstep.restoration.picture.picture import Picture, of_pil

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".ppm", ".pgm")
"""What is looked for in folders; a file that is named may be called anything."""

READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM")

TURNS = {2: ("h",), 3: ("h", "v"), 4: ("v",), 5: ("t",), 6: ("t", "h"), 7: ("t", "h", "v"), 8: ("t", "v")}
"""Orientation -> transpose, mirror left and right, top and bottom, that make it upright (Exif 2.32, 4.6.4 A)."""


def read(file: str | Path) -> Picture:
    """Read a picture.

    Parameters
    ----------
    file
        PNG, JPEG, WebP, TIFF, BMP, GIF or PPM with one picture in it.

    Returns
    -------
    Picture
        Upright, in RGB or gray; `warnings` say what was converted.

    Raises
    ------
    UsageError
        If it is no picture, is broken, is animated or is absurdly large; the message begins with the file.
    OSError
        If the file cannot be opened.
    """
    file = Path(file)
    content = file.read_bytes()
    if not content:
        raise UsageError(f"{file}: the file is empty")
    try:
        return decode(content, name=str(file))
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def decode(content: bytes, *, name: str = "") -> Picture:
    """Read a picture from memory.

    Parameters
    ----------
    content
        The bytes of the file.
    name
        Of the file, to compare its suffix with the content.

    Returns
    -------
    Picture

    Raises
    ------
    UsageError
        As for `read`.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures and of odd metadata
            with Image.open(io.BytesIO(content), formats=list(READABLE)) as image:
                return _upright(image, content, name)
    except UnidentifiedImageError:
        if content[:4] in (b"II*\0", b"MM\0*"):
            return _guarded_tiff(content, name)  # gray of 16 bits with transparency, among others
        raise UsageError("not a picture of a kind that can be read (PNG, JPEG, WebP, TIFF, BMP, GIF, PPM)") from None
    except Image.DecompressionBombError as error:
        raise UsageError(f"too large to be a picture: {str(error).split(',')[0]}") from None
    except UsageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        raise UsageError(f"broken or cut off: {error}") from None


def _upright(image: Any, content: bytes, name: str) -> Picture:
    frames = getattr(image, "n_frames", 1)
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    if frames > 1 and image.format != "MPO":
        what = "pages" if kind == "TIFF" else "frames"
        raise UsageError(f"it has {frames} {what} (an animation or a document): expected one picture")
    info = dict(image.info)
    tags = getattr(image, "tag_v2", {}) if kind == "TIFF" else {}
    exif = exif_bytes.of_texts(tags) if kind == "TIFF" else info.get("exif")
    if kind == "TIFF" and max(tags.get(258, (1,))) > 8:
        return _guarded_tiff(content, name)
    if kind == "PNG" and content[24] == 16 and content[25] in (2, 4, 6):
        found, turn = _deep_png(content), exif_bytes.orientation(exif)
    else:
        image.load()  # turns a TIFF by itself
        found, turn = of_pil(image), 1 if kind == "TIFF" else exif_bytes.orientation(exif)
    return _told(
        replace(
            found,
            pixels=turned(found.pixels, turn),
            alpha=None if found.alpha is None else turned(found.alpha, turn),
            format=kind,
            exif=exif_bytes.upright(exif),
            icc=None if found.warnings else info.get("icc_profile"),
            dpi=_dpi(info),
        ),
        name,
    )


def _told(picture: Picture, name: str) -> Picture:
    if not name or _suits(name, picture.format):
        return picture
    return replace(picture, warnings=(*picture.warnings, f"its content is {picture.format}, whatever its name says"))


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Make pixels upright that were stored with an EXIF orientation.

    Parameters
    ----------
    values
        [rows, columns, ...].
    orientation
        1 to 8.

    Returns
    -------
    numpy.ndarray
    """
    for part in TURNS.get(orientation, ()):
        values = {"t": lambda v: v.swapaxes(0, 1), "h": lambda v: v[:, ::-1], "v": lambda v: v[::-1]}[part](values)
    return np.ascontiguousarray(values)


def _deep_png(content: bytes) -> Picture:
    """16 bits in colour or with transparency, which Pillow cuts to 8."""
    try:
        import cv2
    except ImportError:
        raise UsageError("16-bit colour PNG needs OpenCV: pip install opencv-python-headless") from None
    flags = cv2.IMREAD_UNCHANGED | getattr(cv2, "IMREAD_IGNORE_ORIENTATION", 0)
    values = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if values is None:
        raise UsageError("broken or cut off")
    alpha = values[:, :, 3] if values.ndim == 3 and values.shape[2] == 4 else None
    rgb = values[:, :, 2::-1] if content[25] in (2, 6) else values[:, :, :1]
    return Picture(np.ascontiguousarray(rgb), alpha)


def _guarded_tiff(content: bytes, name: str) -> Picture:
    try:
        return _told(_deep_tiff(content), name)
    except UsageError:
        raise
    except Exception as error:  # tifffile and its decoders raise many kinds
        raise UsageError(f"broken or cut off, or a TIFF of a rare kind: {error}") from None


def _deep_tiff(content: bytes) -> Picture:
    """TIFF of more than 8 bits a channel, which Pillow cuts to 8 or does not know."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        if len(tiff.pages) > 1:
            raise UsageError(f"it has {len(tiff.pages)} pages (a document): expected one picture")
        page: Any = tiff.pages[0]
        tags = {tag.code: tag.value for tag in page.tags}
        values, photometric, planar = page.asarray(), int(page.photometric), int(page.planarconfig) == 2
    if values.dtype != np.uint16:
        raise UsageError(f"pixels of type {values.dtype} have no known range: expected 8 or 16 bits a channel")
    if photometric not in (0, 1, 2):
        raise UsageError("TIFF of 16 bits is read in gray and RGB only: convert it first")
    values = values[:, :, None] if values.ndim == 2 else np.moveaxis(values, 0, -1) if planar else values
    values = turned(65535 - values if photometric == 0 else values, int(tags.get(exif_bytes.ORIENTATION, 1)))
    colours = 3 if values.shape[2] >= 3 else 1
    dots = [tags[key][0] / max(tags[key][1], 1) for key in (282, 283) if key in tags]
    return Picture(
        np.ascontiguousarray(values[:, :, :colours]),
        np.ascontiguousarray(values[:, :, colours]) if values.shape[2] > colours else None,
        format="TIFF",
        exif=exif_bytes.of_texts(tags),
        icc=tags.get(34675),
        dpi=_dpi({"dpi": dots}) if int(tags.get(296, 2)) == 2 else None,
    )


def _suits(name: str, kind: str) -> bool:
    suffix = Path(name).suffix.lower().lstrip(".")
    kinds = {"jpg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF", "dib": "BMP", "pgm": "PPM", "pbm": "PPM"}
    known = {s.lstrip(".") for s in SUFFIXES}
    return suffix not in known or kinds.get(suffix, suffix.upper()) == ("BMP" if kind == "DIB" else kind)


def _dpi(info: dict[str, Any]) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= x <= 1e5 and 1 <= y <= 1e5 else None
