"""One harness for all benchmarks: rows with their peer from `fewstep.benchmarks.<name>`, as Markdown, JSON and a plot.

A benchmark is a module with `rows(*, quick, data, progress, part) -> list of dict`, and optionally `plots(rows, out)`.
What a long one makes through ``part(name, make)`` is kept as it comes, and a stopped run can go on from there.
"""

import ast
import importlib
import inspect
import json
import math
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch

from fewstep.core.build import did_you_mean
from fewstep.core.errors import UsageError
from fewstep.core.files import replacing

KEYS = (
    "row",
    "metric",
    "value",
    "peer",
    "peer_value",
    "target",
    "ok",
    "steps",
    "nfe",
    "dtype",
    "device",
    "threads",
    "seed",
    "commit",
)
"""What each row says; `ok` is None where there is no target, `peer_value` where there is no peer."""

Make = Callable[[], Iterable[Mapping[str, Any]]]
Part = Callable[[str, Make], list[dict[str, Any]]]

_PACKAGE = "fewstep.benchmarks"


def available() -> dict[str, str]:
    """The benchmarks and their first docstring lines, without importing them.

    Returns
    -------
    dict
        Name -> summary, sorted by name.
    """
    package = importlib.import_module(_PACKAGE)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    return {name: _summary(name) for name in names}


def run(
    name: str,
    *,
    out: str | Path,
    quick: bool = False,
    data: str | Path | None = None,
    json_file: str | Path | None = None,
    resume: bool = False,
) -> list[dict[str, Any]]:
    """Run one benchmark and write ``<name>.json``, ``<name>.md`` and ``<name>.png``.

    Parameters
    ----------
    name
        One of `available()`.
    out
        Folder of the results; made if absent.
    quick
        Smaller, in under two minutes.
    data
        Folder of real data; None for what ships.
    json_file
        Where the rows go instead of ``<out>/<name>.json``.
    resume
        Go on where a run into the same file was stopped; every row says by which commit it was measured.

    Returns
    -------
    list of dict
        The rows, each with `KEYS`.

    Raises
    ------
    UsageError
        If there is no such benchmark, `data` does not exist, or a row is not as agreed.
    """
    names = available()
    if name not in names:
        raise UsageError(f"no benchmark {name!r}{did_you_mean(name, names)} (one of {', '.join(names) or 'none'})")
    if data is not None and not Path(data).is_dir():
        raise UsageError(f"the data folder {data} does not exist")
    out, json_file = Path(out), Path(json_file) if json_file is not None else Path(out) / f"{name}.json"
    for folder in (out, json_file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    module = importlib.import_module(f"{_PACKAGE}.{name}")
    asked = {"quick": quick, "data": None if data is None else str(Path(data).resolve())}
    parts = Parts(json_file.with_suffix(".parts.json"), asked, resume=resume)
    options = {"quick": quick, "data": None if data is None else Path(data), "progress": _progress, "part": parts}
    accepted = inspect.signature(module.rows).parameters
    rows = complete(module.rows(**{key: value for key, value in options.items() if key in accepted}))
    json_file.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(markdown(rows) + "\n", encoding="utf-8")
    if hasattr(module, "plots"):
        module.plots(rows, out)
    else:
        chart(rows, out / f"{name}.png", title=name)
    parts.file.unlink(missing_ok=True)
    return rows


def at_once(name: str, make: Make) -> list[dict[str, Any]]:
    """What a benchmark calls as `part` when nothing is kept: its rows.

    Parameters
    ----------
    name
        Of the part.
    make
        Measures it.
    """
    return [dict(row) for row in make()]


class Parts:
    """``part(name, make)`` of a benchmark, keeping what each part gave in a file.

    Parameters
    ----------
    file
        JSON; a part of a run with other options is not taken from it.
    options
        Of the run.
    resume
        Whether parts that are there are taken; else they are made again.
    """

    def __init__(self, file: str | Path, options: Mapping[str, Any], *, resume: bool):
        self.file, self.options = Path(file), dict(options)
        self.known: dict[str, list[dict[str, Any]]] = {}
        if resume and self.file.is_file():
            try:
                kept = json.loads(self.file.read_text(encoding="utf-8"))
            except ValueError:
                raise UsageError(f"{self.file} is damaged: remove it, or run without --resume") from None
            self.known = kept["parts"] if kept["options"] == self.options else {}

    def __call__(self, name: str, make: Make) -> list[dict[str, Any]]:
        """Rows of a part, made or kept."""
        if name not in self.known:
            found = list(make())
            self.known[name] = complete(found) if found else []
            with replacing(self.file) as new:
                new.write_text(json.dumps({"options": self.options, "parts": self.known}, indent=1), encoding="utf-8")
        else:
            _progress(f"{name}: kept from a run before")
        return self.known[name]


def complete(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check rows and fill in commit, threads and device.

    Parameters
    ----------
    rows
        What a benchmark gave.

    Returns
    -------
    list of dict
        With exactly `KEYS`, in that order.

    Raises
    ------
    UsageError
        If there is no row, a key is missing or unknown, a value is not a finite number, or `ok` is not a bool or None.
    """
    if not rows:
        raise UsageError("a benchmark gives at least one row, got none")
    filled = {"commit": commit(), "threads": torch.get_num_threads(), "device": "cpu"}
    return [_completed({**filled, **row}) for row in rows]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table, then the conditions they share.

    Parameters
    ----------
    rows
        With `KEYS`.

    Returns
    -------
    str
        The table.
    """
    columns = ("row", "metric", "value", "peer", "peer_value", "target", "ok", "steps", "nfe", "dtype", "seed")
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[key]) for key in columns) + " |" for row in rows]
    shared = {key: sorted({str(row[key]) for row in rows}) for key in ("device", "threads", "commit")}
    return "\n".join([*lines, "", ", ".join(f"{key} {'/'.join(values)}" for key, values in shared.items())])


def chart(rows: Sequence[Mapping[str, Any]], file: str | Path, *, title: str) -> Path:
    """One panel of bars per metric, the peer beside each value.

    Parameters
    ----------
    rows
        With `KEYS`.
    file
        PNG to write.
    title
        Of the figure.

    Returns
    -------
    pathlib.Path
        The file.
    """
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    per_metric = {metric: [row for row in rows if row["metric"] == metric] for metric in metrics}
    height = sum(0.4 * len(group) + 1.2 for group in per_metric.values())
    figure = Figure(figsize=(8, min(height, 100)), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for panel, (metric, group) in zip(panels, per_metric.items(), strict=True):
        places = range(len(group))
        panel.barh([p - 0.2 for p in places], [row["value"] or 0 for row in group], 0.35, label="fewstep")
        panel.barh([p + 0.2 for p in places], [row["peer_value"] or 0 for row in group], 0.35, label="peer")
        panel.set_yticks(list(places), [str(row["row"]) for row in group])
        panel.invert_yaxis()
        panel.set_xlabel(metric)
    panels[0].legend()
    figure.savefig(file, dpi=120)
    return Path(file)


def commit() -> str:
    """The commit of the source tree with ``-dirty`` if it has changed, or the package's version where there is none.

    Returns
    -------
    str
        For the key `commit`.
    """
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return metadata.version("fewstep")


def _summary(name: str) -> str:
    spec = util.find_spec(f"{_PACKAGE}.{name}")
    source = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin else ""
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _completed(row: dict[str, Any]) -> dict[str, Any]:
    absent, unknown = [key for key in KEYS if key not in row], [key for key in row if key not in KEYS]
    if absent or unknown:
        raise UsageError(f"row {row.get('row')!r}: missing keys {absent}, unknown keys {unknown}")
    for key in ("value", "peer_value"):
        if row[key] is not None and not (isinstance(row[key], int | float) and math.isfinite(row[key])):
            raise UsageError(f"row {row['row']!r}: {key} is a finite number or None, got {row[key]!r}")
    if row["ok"] not in (True, False, None):
        raise UsageError(f"row {row['row']!r}: ok is True, False or None, got {row['ok']!r}")
    return {key: row[key] for key in KEYS}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
