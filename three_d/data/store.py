"""Solids as cells, captions and pictures on disk, made once: chunks of safetensors that a stopped run goes on with.

A chunk of n solids holds ``starts`` [n + 1] (rows of the solid in what follows), ``coords`` uint8 [rows, 3], ``sdf``
int8 [rows, b³] (127 is the reach), ``colour`` uint8 [rows, b³, 3], ``words`` uint8 [n, captions, length] and
``pictures`` uint8 [n, views, P, P, 4].
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.lattice import Cells, Lattice

CHUNK = 256
FORMAT = "fewstep.shapes.1"


@dataclass(frozen=True)
class Plan:
    """What is put on disk.

    Parameters
    ----------
    shapes
        Number of procedural solids, or at most so many of `meshes`.
    seed
        Of the solids (those of another seed are held out), captions and views.
    samples, block
        Of the lattice.
    captions, views
        For each solid; the first caption tells all.
    picture
        Pixels per side of a view.
    meshes
        A folder of models instead of procedural solids.
    """

    shapes: int = 6144
    seed: int = 0
    samples: int = 60
    block: int = 5
    captions: int = 8
    views: int = 3
    picture: int = 64
    meshes: str | None = None

    @property
    def key(self) -> str:
        """A name that changes with all but the number of solids."""
        parts = asdict(self) | {"format": FORMAT}
        del parts["shapes"]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Stored:
    """All of a plan, in memory; see the module for the arrays, here joined over the chunks."""

    lattice: Lattice
    starts: np.ndarray
    coords: np.ndarray
    sdf: np.ndarray
    colour: np.ndarray
    words: np.ndarray
    pictures: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, i: int) -> slice:
        """Rows of solid i."""
        return slice(int(self.starts[i]), int(self.starts[i + 1]))

    def cells(self, i: int) -> Cells:
        """Of solid i."""
        at = self.rows(i)
        return Cells(
            self.coords[at].astype(np.int64), self.sdf[at].astype(np.float32) / 127,
            self.colour[at].astype(np.float32) / 255,
        )  # fmt: skip

    @property
    def counts(self) -> np.ndarray:
        """Cells of each solid."""
        return np.diff(self.starts)


def stored(cache: str | Path, plan: Plan, *, workers: int = 1, progress: bool = True) -> Stored:
    """Read a plan's solids, making those that are not there yet.

    Parameters
    ----------
    cache
        Folder; the plan gets one of its own within.
    plan
        What to make.
    workers
        Processes.
    progress
        Show it, on a terminal.

    Returns
    -------
    Stored

    Raises
    ------
    UsageError
        If a folder of meshes has no model that can be read.
    """
    folder = Path(cache) / plan.key
    folder.mkdir(parents=True, exist_ok=True)
    files = _models(plan)
    total = plan.shapes if files is None else min(plan.shapes, len(files))
    spans = [(first, min(first + CHUNK, total)) for first in range(0, total, CHUNK)]
    todo = [span for span in spans if not _file(folder, span).is_file()]
    make = partial(_chunk, folder, plan, files)
    if workers > 1 and len(todo) > 1:
        with ProcessPoolExecutor(workers) as pool:
            _all(pool.map(make, todo), len(todo), progress)
    else:
        _all(map(make, todo), len(todo), progress)
    return _joined(plan, [_file(folder, span) for span in spans])


def _all(done: Any, total: int, progress: bool) -> None:
    from rich.progress import track

    for _ in track(done, "shapes", total=total, disable=not (progress and total and os.isatty(2))):
        pass


def _file(folder: Path, span: tuple[int, int]) -> Path:
    return folder / f"{span[0]:07d}-{span[1]:07d}.safetensors"


def _models(plan: Plan) -> list[str] | None:
    if plan.meshes is None:
        return None
    from fewstep.three_d.data.meshes import model_files

    return [str(file) for file in model_files(plan.meshes)]


def _chunk(folder: Path, plan: Plan, files: Sequence[str] | None, span: tuple[int, int]) -> None:
    from safetensors.numpy import save_file

    items = [found for i in range(*span) if (found := _item(plan, files, i)) is not None]
    if not items:
        raise UsageError(f"none of the models {span[0]} to {span[1] - 1} of {plan.meshes} can be used")
    counts = [len(item["coords"]) for item in items]
    tensors = {key: np.concatenate([item[key] for item in items]) for key in ("coords", "sdf", "colour")}
    tensors |= {key: np.stack([item[key] for item in items]) for key in ("words", "pictures")}
    tensors["starts"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    part = folder / f".{span[0]}.{os.getpid()}"
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, part)
    part.replace(_file(folder, span))


def _item(plan: Plan, files: Sequence[str] | None, i: int) -> dict[str, np.ndarray] | None:
    from fewstep.three_d import text
    from fewstep.three_d.mesh.isosurface import isosurface
    from fewstep.three_d.render.raster import render

    generator = np.random.default_rng((plan.seed, i, 1))
    solid = _solid(plan, files, i)
    if solid is None:
        return None
    lattice = Lattice(plan.samples, plan.block)
    cells = lattice.take(solid)
    if not len(cells.coords):
        return None
    field = lattice.fill(cells)
    mesh = isosurface(field.sdf, field.colour)
    pictures = []
    for _ in range(plan.views):
        azimuth, elevation = float(generator.uniform(-180, 180)), float(generator.uniform(-5, 45))
        pictures.append(render(mesh, azimuth=azimuth, elevation=elevation, size=plan.picture))
    captions = [solid.caption(None if n == 0 else generator) for n in range(plan.captions)]
    return {
        "coords": cells.coords.astype(np.uint8),
        "sdf": np.rint(cells.sdf * 127).astype(np.int8),
        "colour": np.rint(cells.colour * 255).astype(np.uint8),
        "words": np.stack([_words(text, caption) for caption in captions]),
        "pictures": np.stack(pictures) if pictures else np.zeros((0, plan.picture, plan.picture, 4), np.uint8),
    }


def _words(text: Any, caption: str) -> np.ndarray:
    if not caption:  # a model whose name tells no kind
        return np.zeros(text.LENGTH, np.uint8)
    return text.encode(caption).ids.astype(np.uint8)


def _solid(plan: Plan, files: Sequence[str] | None, i: int) -> Any:
    if files is None:
        from fewstep.three_d.corpus import make

        return make(i, seed=plan.seed)
    from fewstep.three_d.data.meshes import solid_or_none

    return solid_or_none(files[i])


def _joined(plan: Plan, files: Sequence[Path]) -> Stored:
    from safetensors.numpy import load_file

    parts = [load_file(file) for file in files]
    starts, first = [np.zeros(1, np.int64)], 0
    for part in parts:
        starts.append(part["starts"][1:] + first)
        first += int(part["starts"][-1])
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if key != "starts"}
    return Stored(Lattice(plan.samples, plan.block), np.concatenate(starts), **joined)
