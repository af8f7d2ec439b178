"""A report in one HTML file: three slices of each method side by side, and every number in a table."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.files import replacing
from fewstep.mri.write.pictures import png
from fewstep.mri.write.product import Product

ERROR_GAIN = 5
"""Error maps are shown so many times brighter."""

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em;color:#1a1a1a}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.3em .7em;text-align:left;"
    "vertical-align:top}figure{display:inline-block;margin:.3em;width:17em}img{width:100%;background:#000}"
    "figcaption{font-size:13px}.warn{background:#fff4d6;padding:.5em 1em;border-left:4px solid #d69a00}"
    "td{word-break:break-word}"
)


def write_report(file: Path, made: Product) -> None:
    """Write the report of one scan.

    Parameters
    ----------
    file
        `.html`; pictures are inside, nothing is fetched.
    made
        What to show.
    """
    title = html.escape(f"{made.name}: {made.report.get('method', '')}")
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>{html.escape(_mode(made))}</p>",
        *(f"<p class='warn'>{html.escape(text)}</p>" for text in made.report.get("warnings", [])),
    ]
    for i in _slices(len(made.image)):
        parts.append(f"<h2>Slice {i + 1} of {len(made.image)}</h2><div>{''.join(_figures(made, i))}</div>")
    parts.append(f"<h2>Agreement with the data</h2>{_residuals(made.report)}")
    parts.append(f"<h2>All figures</h2>{_table(_flat({**_facts(made), **made.report}))}</html>\n")
    with replacing(file) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def _mode(made: Product) -> str:
    return {
        "raw": "Reconstructed from k-space.",
        "restore": "Restored from magnitude pictures: the acquired band is kept, the outside is filled in by a learned "
        "prior and may show what is not there.",
        "qa": "A simulation for quality assurance, not for diagnosis: magnitude pictures were undersampled afterwards.",
    }[made.mode]


def _figures(made: Product, i: int) -> Iterator[str]:
    image = made.magnitude
    top = float(np.percentile(image, 99.7))
    ours = str(made.report.get("method", "ours"))
    pictures = {name: np.abs(values) for name, values in made.others.items()} | {ours: image}
    if made.reference is not None:
        yield _figure(made.reference[i], "reference", 0, top)
    for name in sorted(pictures, key=lambda n: (n == ours, n != "zero-filled", n)):
        yield _figure(pictures[name][i], name, 0, top)
    if made.reference is not None:
        error = np.abs(image[i] - made.reference[i])
        yield _figure(error, f"error of {ours}, {ERROR_GAIN} times brighter", 0, top / ERROR_GAIN, "inferno")
    if made.std is not None:
        high = float(np.percentile(made.std, 99.7))
        share = high / top if top > 0 else 0.0
        yield _figure(
            made.std[i], f"standard deviation of the samples, white is {share:.1%} of white", 0, high, "inferno"
        )


def _figure(values: np.ndarray, caption: str, low: float, high: float, cmap: str = "gray") -> str:
    data = base64.b64encode(png(values, low=low, high=high, cmap=cmap)).decode()
    text = html.escape(caption)
    return f"<figure><img alt='{text}' src='data:image/png;base64,{data}'><figcaption>{text}</figcaption></figure>"


def _residuals(report: Mapping[str, Any]) -> str:
    rows = [
        (name, f"{np.mean(values):.4f}", f"{np.max(values):.4f}")
        for name, values in (report.get("residual") or {}).items()
        if values
    ]
    if not rows:
        return "<p>none computed</p>"
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr><th>method</th><th>mean |Ax − y| / |y|</th><th>worst slice</th></tr>{body}</table>"


def _facts(made: Product) -> dict[str, Any]:
    info = made.info
    return {
        "source": f"{info.file} ({info.kind})",
        "source sha256": info.sha256,
        "protocol": info.protocol,
        "mode": made.mode,
        "slices, rows, columns": list(made.image.shape),
        "spacing, mm": [round(v, 4) for v in made.spacing],
        "place in the patient known": made.geometry.known,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, float) for v in value):
            yield name, f"mean {np.mean(value):.5g}, {min(value):.5g} to {max(value):.5g}"
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(map(str, value)) or "none"
        else:
            yield name, f"{value:.5g}" if isinstance(value, float) else str(value)


def _table(rows: Iterator[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{body}</table>"


def _slices(count: int) -> list[int]:
    """Three in the middle half, or as many as there are."""
    if count <= 3:
        return list(range(count))
    return [count // 4, count // 2, (3 * count) // 4]
