"""Write a picture file, whole or not at all, with the EXIF and the colour profile that the picture came with."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.restoration.picture import exif as exif_bytes
from fewstep.restoration.picture.picture import Picture, to_pil, with_bits

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP"}
"""Suffix -> format, of those that can be written."""

QUALITY = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95, "method": 4}, "PNG": {}, "BMP": {}}


def suffix_of(format: str, *, wanted: str = "same") -> str:
    """The suffix, without a dot, of the file to write.

    Parameters
    ----------
    format
        Of the picture as read, as Pillow calls it.
    wanted
        ``"same"``, or a key of `FORMATS`.

    Returns
    -------
    str
        A key of `FORMATS`; ``"png"`` for what cannot be written well (GIF, PPM).
    """
    if wanted != "same":
        return wanted
    return next((suffix for suffix, name in FORMATS.items() if name == format), "png")


def write(file: str | Path, picture: Picture, *, bits: int | None = None, strip: bool = False) -> list[str]:
    """Write a picture; the suffix says the format.

    Parameters
    ----------
    file
        Its suffix is a key of `FORMATS`, or ``jpeg`` or ``tiff``; the folder is made.
    picture
        What to write.
    bits
        8 or 16 a channel; default as the picture has.
    strip
        Leave out EXIF, ICC profile and resolution.

    Returns
    -------
    list of str
        What the format could not keep.

    Raises
    ------
    UsageError
        If the format is not one of those, or has no 16 bits and they are asked for.
    OSError
        If it cannot be written; nothing is left then.
    """
    file = Path(file)
    suffix = {"jpeg": "jpg", "tiff": "tif"}.get(name := file.suffix.lower().lstrip("."), name)
    if suffix not in FORMATS:
        raise UsageError(f"{file}: expected a name that ends in {', '.join(FORMATS)}")
    format, told = FORMATS[suffix], []
    if bits == 16 and format not in ("PNG", "TIFF"):
        raise UsageError(f"{format} has no 16 bits a channel: use png or tif")
    if picture.bits == 16 and bits is None and format not in ("PNG", "TIFF"):
        told.append(f"16 bits became 8: {format} has no more")
    deep = 16 if bits == 16 or (bits is None and picture.bits == 16 and format in ("PNG", "TIFF")) else 8
    pixels = with_bits(picture.pixels, deep)
    alpha = None if picture.alpha is None else with_bits(picture.alpha, deep)
    if alpha is not None and format in ("JPEG", "BMP"):
        told.append(f"transparency was laid on white: {format} has none")
        pixels, alpha = _on_white(pixels, alpha), None
    exif, icc, dpi = (None, None, None) if strip else (picture.exif, picture.icc, picture.dpi)
    plain = Picture(pixels, alpha, exif=exif, icc=icc, dpi=dpi)
    if deep == 16 and format == "PNG":
        content = _deep_png(plain)
    elif format == "TIFF":
        content = _tiff(plain)
    else:
        content = _by_pillow(plain, format)
    with replacing(file) as temporary:
        temporary.write_bytes(content)
    return told


def _by_pillow(picture: Picture, format: str) -> bytes:
    options: dict[str, Any] = dict(QUALITY[format])
    if format != "BMP":
        options |= {"exif": picture.exif} if picture.exif else {}
        options |= {"icc_profile": picture.icc} if picture.icc else {}
    if picture.dpi:
        options["dpi"] = picture.dpi
    image, stream = to_pil(picture), io.BytesIO()
    image.info.clear()
    try:
        image.save(stream, format, **options)
    except (ValueError, SystemError) as error:
        raise UsageError(f"cannot be written as {format}: {error}") from None
    return stream.getvalue()


def _deep_png(picture: Picture) -> bytes:
    """16 bits, which Pillow cannot write but in gray: the pixels by OpenCV, then the chunks (PNG 3, section 11.3)."""
    try:
        import cv2
    except ImportError:
        raise UsageError("16-bit PNG needs OpenCV: pip install opencv-python-headless") from None
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        pixels = np.concatenate([pixels[:, :, ::-1], picture.alpha[:, :, None]], axis=2)
    elif pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1]
    done, buffer = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not done:
        raise OSError("OpenCV could not encode a PNG")
    content, chunks = buffer.tobytes(), b""
    if picture.icc:
        chunks += _chunk(b"iCCP", b"icc\0\0" + zlib.compress(picture.icc))
    if picture.dpi:
        x, y = (round(dots / 0.0254) for dots in picture.dpi)
        chunks += _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if picture.exif:
        chunks += _chunk(b"eXIf", picture.exif.removeprefix(exif_bytes.HEADER))
    return content[:33] + chunks + content[33:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _tiff(picture: Picture) -> bytes:
    """Deflated TIFF; of EXIF the texts are kept."""
    import tifffile

    pixels, gray = picture.pixels, picture.pixels.shape[2] == 1
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[:, :, None]], axis=2)
    extra: list[tuple] = [
        (tag, 2, None, text, True) for tag, text in exif_bytes.texts(picture.exif).items() if _ascii(text)
    ]
    told = {tag for tag, *_ in extra}
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        pixels[:, :, 0] if pixels.shape[2] == 1 else pixels,
        photometric="minisblack" if gray else "rgb",
        planarconfig="contig" if pixels.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if picture.alpha is not None else None,
        compression="zlib",
        metadata=None,
        iccprofile=picture.icc,
        resolution=picture.dpi,
        resolutionunit="INCH" if picture.dpi else None,
        extratags=extra,
        software=None if 305 in told else False,
    )
    return stream.getvalue()


def _ascii(text: str) -> bool:
    return text.isascii() and bool(text.strip("\0"))


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    top = np.iinfo(pixels.dtype).max
    weight = (alpha.astype(np.float32) / top)[:, :, None]
    return np.rint(pixels * weight + top * (1 - weight)).astype(pixels.dtype)
