"""One HTML page that shows shapes to turn, zoom and download; everything is in it, nothing comes from the network."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.three_d.mesh.glb import glb
from fewstep.three_d.mesh.mesh import Mesh
from fewstep.three_d.render.page import BODY, SCRIPT, STYLE
from fewstep.three_d.render.turntable import portrait

THUMBNAIL = 192


@dataclass(frozen=True)
class Exhibit:
    """A shape on show.

    Parameters
    ----------
    mesh
        With faces.
    name
        Its title, such as the prompt.
    facts
        Told below the title, and kept in the GLB.
    """

    mesh: Mesh
    name: str = "shape"
    facts: Mapping[str, Any] = field(default_factory=dict)


def page(shapes: Sequence[Exhibit | Mesh], *, title: str = "Shapes") -> str:
    """The page.

    Parameters
    ----------
    shapes
        At least one.
    title
        Of the page.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    UsageError
        If there is none, or one has no faces.
    """
    if not shapes:
        raise UsageError("a page needs at least one shape")
    shown = [shape if isinstance(shape, Exhibit) else Exhibit(shape) for shape in shapes]
    data = json.dumps([_told(shape, number) for number, shape in enumerate(shown, 1)])
    safe = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f'<body>{BODY}<script id="shapes" type="application/json">{safe}</script>\n<script>{SCRIPT}</script>'
        "</body></html>\n"
    )


def save_page(path: str | Path, shapes: Sequence[Exhibit | Mesh], *, title: str = "Shapes") -> Path:
    """Write the page; see `page`.

    Raises
    ------
    UsageError
        If the path does not end in .html or .htm.
    """
    path = page_of(path)
    content = page(shapes, title=title)
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return path


def page_of(path: str | Path) -> Path:
    """The path, if a page can have its name; a UsageError else."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path}: a page ends in .html")
    return Path(path)


def frame(shapes: Sequence[Exhibit | Mesh], *, height: int = 480) -> str:
    """The page within another, such as a notebook: an iframe that holds all of it."""
    return (
        f'<iframe srcdoc="{html.escape(page(shapes))}" width="100%" height="{height}" style="border:0" '
        'sandbox="allow-scripts allow-downloads" title="3D viewer"></iframe>'
    )


def show(shapes: Sequence[Exhibit | Mesh], *, height: int = 480) -> None:
    """Show shapes: in the notebook, or else in the browser, by a page in the temporary folder.

    Parameters
    ----------
    shapes
        At least one.
    height
        Pixels, in a notebook.
    """
    if _in_notebook():
        from IPython.display import HTML, display

        display(HTML(frame(shapes, height=height)))
        return
    import tempfile
    import webbrowser

    file = save_page(Path(tempfile.mkdtemp(prefix="fewstep-")) / "shapes.html", shapes)
    print(file)
    webbrowser.open(file.as_uri())


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ not in ("NoneType", "TerminalInteractiveShell")


def _told(shape: Exhibit, number: int) -> dict[str, str]:
    facts = "  ·  ".join(f"{key} {value}" for key, value in shape.facts.items() if key != "prompt")
    words = re.sub(r"[^a-z0-9]+", "-", shape.name.lower()).strip("-")[:40].strip("-")
    return {
        "name": shape.name,
        "facts": facts,
        "file": words or f"shape-{number}",
        "picture": "data:image/png;base64," + _text(_png(shape.mesh)),
        "glb": _text(glb(shape.mesh, name=shape.name, facts=shape.facts)),
    }


def _png(mesh: Mesh) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(portrait(mesh, size=THUMBNAIL)).save(stream, "PNG")
    return stream.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
