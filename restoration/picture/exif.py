"""EXIF as bytes: the orientation is read and set in place, everything else stays as it was, maker notes too.

Exif 2.32 (CIPA DC-008): ``Exif\\0\\0``, then a TIFF header and directory 0 with entries of 12 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

ORIENTATION = 0x0112
HEADER = b"Exif\0\0"

TEXTS = {270: "description", 271: "make", 272: "model", 305: "software", 306: "date", 315: "artist", 33432: "copyright"}
"""Tags of text that TIFF keeps."""


def orientation(exif: bytes | None) -> int:
    """1 to 8; 1 if it is not said, or not readable."""
    for _, value in _places(exif):
        return value if 1 <= value <= 8 else 1
    return 1


def upright(exif: bytes | None) -> bytes | None:
    """The same bytes with orientation 1."""
    if exif is None:
        return None
    changed = bytearray(exif)
    for place, _ in _places(exif):
        struct.pack_into(f"{_order(exif)}H", changed, place, 1)
    return bytes(changed)


def texts(exif: bytes | None) -> dict[int, str]:
    """Tag -> text of the tags in `TEXTS`."""
    from PIL import Image

    if not exif:
        return {}
    found = Image.Exif()
    try:
        found.load(exif)
        return {tag: str(found[tag]) for tag in TEXTS if tag in found}
    except (ValueError, OSError, SyntaxError, KeyError, struct.error):
        return {}


def of_texts(tags: Any) -> bytes | None:
    """EXIF bytes with the text tags of a TIFF directory, a mapping of tags."""
    from PIL import Image

    made = Image.Exif()
    for tag in TEXTS:
        if tag in tags:
            made[tag] = str(tags[tag])
    return HEADER + made.tobytes().removeprefix(HEADER) if len(made) else None


def _order(exif: bytes) -> str:
    body = exif.removeprefix(HEADER)
    return ">" if body[:2] == b"MM" else "<"


def _places(exif: bytes | None) -> Iterator[tuple[int, int]]:
    """Offset and value of directory 0's orientation."""
    if not exif:
        return
    start, order = len(exif) - len(exif.removeprefix(HEADER)), _order(exif)
    try:
        (offset,) = struct.unpack_from(f"{order}I", exif, start + 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start + offset)
        for i in range(count):
            place = start + offset + 2 + 12 * i
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, place)
            if tag == ORIENTATION:
                yield place + 8, value
    except struct.error:
        return
