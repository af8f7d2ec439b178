"""A page of pictures before and after with a slider, in one HTML file that fetches nothing."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fewstep.core.files import replacing
from fewstep.restoration.picture.picture import Picture, to_pil, with_bits

LONGEST = 720
"""Pixels of a picture's longer side on the page; larger results are shown by their middle, in full resolution."""

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em;color:#1a1a1a}"
    "figure{display:inline-block;margin:.6em;vertical-align:top}figcaption{font-size:13px;max-width:720px}"
    ".pair{position:relative;display:inline-block;line-height:0}.pair img{display:block;max-width:100%}"
    ".pair img+img{position:absolute;left:0;top:0;width:100%;height:100%;clip-path:inset(0 0 0 var(--at,50%))}"
    "input{width:100%;margin:.3em 0}"
)


class Shown(NamedTuple):
    """A picture on the page; both are JPEG of one size."""

    name: str
    before: bytes
    after: bytes
    note: str


def shown_of(name: str, before: Picture, after: Picture, note: str) -> Shown:
    """Make a picture for the page.

    Parameters
    ----------
    name
        Its heading.
    before, after
        Input and result; the input is enlarged to the result by the nearest pixels.
    note
        Said below.
    """
    from PIL import Image

    scale = after.size[0] // before.size[0]
    rows, columns = (min(n, LONGEST // scale) for n in before.size)
    top, left = ((n - m) // 2 for n, m in zip(before.size, (rows, columns), strict=True))
    cut = before.pixels[top : top + rows, left : left + columns]
    result = after.pixels[top * scale : (top + rows) * scale, left * scale : (left + columns) * scale]
    small = to_pil(Picture(with_bits(cut, 8))).resize((columns * scale, rows * scale), Image.Resampling.NEAREST)
    sizes = f"{before.size[1]} x {before.size[0]} to {after.size[1]} x {after.size[0]} pixels"
    part = "" if (rows, columns) == before.size else f", the middle {columns * scale} x {rows * scale}"
    return Shown(name, _jpeg(small), _jpeg(to_pil(Picture(with_bits(result, 8)))), f"{sizes}{part}; {note}")


def write_report(file: Path, pictures: Sequence[Shown], *, title: str = "Before and after", intro: str = "") -> None:
    """Write the page.

    Parameters
    ----------
    file
        `.html`.
    pictures
        What is shown.
    title, intro
        Heading and a paragraph of text.
    """
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(intro)}</p>"
    ]
    for shown in pictures:
        name, note = html.escape(shown.name), html.escape(shown.note)
        images = [base64.b64encode(data).decode() for data in (shown.before, shown.after)]
        parts.append(
            f"<figure><div class='pair'><img alt='{name}, before' src='data:image/jpeg;base64,{images[0]}'>"
            f"<img alt='{name}, after' src='data:image/jpeg;base64,{images[1]}'></div>"
            "<input type='range' min='0' max='100' value='50' aria-label='before or after' "
            "oninput=\"this.previousElementSibling.style.setProperty('--at',this.value+'%')\">"
            f"<figcaption><b>{name}</b>: before at the left, after at the right; {note}</figcaption></figure>"
        )
    with replacing(file) as temporary:
        temporary.write_text("\n".join(parts) + "\n</html>\n", encoding="utf-8")


def _jpeg(image: object) -> bytes:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=90, subsampling=0)  # type: ignore[attr-defined]
    return stream.getvalue()
