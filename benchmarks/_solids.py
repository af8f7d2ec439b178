"""Sets of shapes, what is measured of them, and autoencoders' round trips, for `fewstep bench shapes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from fewstep.core import checkpoint, hub
from fewstep.core.errors import UsageError
from fewstep.three_d import metrics, pretrained, text
from fewstep.three_d.corpus import make
from fewstep.three_d.corpus.attributes import said
from fewstep.three_d.lattice import Cells, Field, Lattice
from fewstep.three_d.mesh.bridge import bridged
from fewstep.three_d.mesh.clean import volumes, without_crumbs
from fewstep.three_d.mesh.isosurface import isosurface
from fewstep.three_d.mesh.mesh import Mesh
from fewstep.three_d.models.classifier import KIND, Judge, agreement, grid_of
from fewstep.three_d.pipeline import Draw, Options, Told, generate

SEED, POINTS, BATCH = 0, 256, 16


@dataclass(frozen=True, eq=False)
class Collection:
    """Shapes as fields, with what each was to be.

    Parameters
    ----------
    fields
        Distances in units of the lattice's reach.
    reach
        That unit.
    prompts
        One for each.
    """

    fields: Sequence[Field]
    reach: float
    prompts: Sequence[str]

    @cached_property
    def meshes(self) -> list[Mesh]:
        """Their surfaces; a speck in the middle where there is none."""
        return [
            _speck() if empty else isosurface(f.sdf, f.colour) for f, empty in zip(self.fields, self.empty, strict=True)
        ]

    @property
    def mended(self) -> list[Mesh]:
        """The surfaces with their loose parts joined."""
        unit = self.reach * len(self.fields[0].sdf)
        joined = [(bridged(one, unit=unit), mesh) for one, mesh in zip(self.fields, self.meshes, strict=True)]
        return [isosurface(f.sdf, f.colour) if n else mesh for (f, n), mesh in joined]

    @cached_property
    def empty(self) -> list[bool]:
        """Which have nothing inside."""
        return [not (one.sdf < 0).any() for one in self.fields]

    @cached_property
    def points(self) -> list[np.ndarray]:
        """Even points on the surfaces, always the same ones."""
        return [
            metrics.surface_points(mesh, POINTS, np.random.default_rng((SEED, i)))[0]
            for i, mesh in enumerate(self.meshes)
        ]

    @cached_property
    def silhouettes(self) -> np.ndarray:
        """Of `fewstep.three_d.metrics.silhouette_features`."""
        return np.stack([metrics.silhouette_features(mesh) for mesh in self.meshes])

    @cached_property
    def own_distances(self) -> np.ndarray:
        """Chamfer distances among them."""
        return metrics.chamfer_matrix(self.points)

    def judged(self, judge: Judge) -> tuple[list[dict[str, str]], np.ndarray]:
        """Answers and features."""
        grids = np.stack([grid_of(one.sdf * self.reach, one.colour) for one in self.fields])
        return judge.judged(torch.from_numpy(grids))


def references(n: int, lattice: Lattice, *, first: int = 0) -> Collection:
    """The first n held-out shapes with their full captions."""
    shapes = [make(first + i, seed=1) for i in range(n)]
    fields = [lattice.fill(lattice.take(shape)) for shape in shapes]
    return Collection(fields, lattice.reach, [shape.caption() for shape in shapes])


def generated(
    models: pretrained.Models, prompts: Sequence[str], steps: int, *, first: int = 0
) -> tuple[Collection, list[Draw]]:
    """One shape for each prompt, of seeds first, first + 1, ...; each number of steps has the same noise."""
    told = [Told(text.encode(prompt).ids) for prompt in prompts]
    draws = generate(
        models, told, seeds=range(first, first + len(told)), options=Options(steps=steps), batch_size=BATCH
    )
    return Collection([draw.field for draw in draws], models.lattice.reach, prompts), draws


def matched(made: Collection, real: Collection) -> dict[str, float]:
    """What the distances between a set and the references say, which have the same prompts."""
    across = metrics.chamfer_matrix(made.points, real.points)
    own = metrics.nearest_neighbour_accuracy(made.own_distances, across, real.own_distances)
    return {
        "MMD, Chamfer x 1000": 1000 * metrics.minimum_matching_distance(across),
        "COV, %": 100 * metrics.coverage(across),
        "1-NNA, %": 100 * own,
        "Chamfer x 1000 to the shape of the same words": 1000 * float(across.diagonal().mean()),
    }


def compared(made: Collection, real: Collection, judge: Judge | None) -> dict[str, float]:
    """Everything that is measured of a set beside the references, which have the same prompts."""
    cleaned = [without_crumbs(mesh)[0] for mesh in made.mended]
    found = matched(made, real) | {
        "silhouette distance": metrics.silhouette_distance(made.silhouettes, real.silhouettes),
        "empty, %": 100 * fmean(made.empty),
        "watertight, %": 100 * fmean(mesh.watertight for mesh in made.meshes),
        "in one piece as decoded, %": 100 * fmean(len(volumes(mesh)) == 1 for mesh in made.meshes),
        "in one piece after clean-up, %": 100 * fmean(len(volumes(mesh)) == 1 for mesh in cleaned),
    }
    return found if judge is None else found | judged(made, real, judge)


def judged(made: Collection, real: Collection, judge: Judge) -> dict[str, float]:
    """How far the judge finds what the prompts say, and the Fréchet distance of its features."""
    told, features = made.judged(judge)
    checks: dict[str, list[bool]] = {"kind": [], "colours": [], "attributes": []}
    for answers, prompt in zip(told, made.prompts, strict=True):
        for name, right in agreement(answers, *said(text.encode(prompt).words)).items():
            key = "kind" if name == "kind" else "colours" if name in ("colour", "second") else "attributes"
            checks[key].append(right)
    shares = {f"{key} as told, %": 100 * fmean(values) for key, values in checks.items() if values}
    return shares | {"feature distance": metrics.frechet(features, real.judged(judge)[1])}


def judge() -> Judge | None:
    """The judge that ships, if it does."""
    try:
        folder = hub.resolve("shapes-judge", kind=KIND)
    except UsageError:
        return None
    net = checkpoint.load(folder, kind=KIND)[0]
    assert isinstance(net, Judge)
    return net


def models(name: str) -> pretrained.Models | None:
    """Flows that ship, or lie in runs/ under that name."""
    for place in (name, Path("runs") / name):
        try:
            return pretrained.load(place)
        except UsageError:
            continue
    return None


def autoencoders(name: str = "shapes-vae") -> tuple[Any, Any] | None:
    """The autoencoders of both stages that ship, or lie in runs/ under that name."""
    for place in (name, Path("runs") / name):
        try:
            return pretrained.autoencoder(place, "structure"), pretrained.autoencoder(place, "slat")
        except UsageError:
            continue
    return None


@torch.inference_mode()
def round_trip(structure: Any, slat: Any, lattice: Lattice, solids: Sequence[Any], take: Callable) -> dict[str, float]:
    """Intersections over union after the autoencoders: of active cells, of the inside given the cells, and of both.

    Parameters
    ----------
    structure, slat
        The autoencoders.
    lattice
        Theirs.
    solids
        With ``sdf`` and ``colour``.
    take
        ``(solid) -> Cells``.
    """
    scores: dict[str, list[float]] = {"cells": [], "inside, true cells": [], "inside": [], "colour": []}
    for one in solids:
        cells: Cells = take(one)
        if not len(cells.coords):
            continue
        occupied = torch.zeros(1, 1, *[lattice.cells] * 3)
        occupied[0, 0][tuple(torch.from_numpy(cells.coords).T)] = 1
        again = structure.decode(structure.encode(occupied)[0])[0, 0] > 0
        scores["cells"].append(metrics.occupancy_iou(again.numpy(), occupied[0, 0].numpy() > 0))
        truth = lattice.fill(cells)
        coords = torch.from_numpy(cells.coords)[None]
        mask = torch.ones(coords.shape[:2], dtype=torch.bool)
        z, _ = slat.encode(torch.from_numpy(cells.sdf)[None], torch.from_numpy(cells.colour)[None], coords, mask)
        kept = _filled(lattice, cells.coords, *slat.decode(z, coords, mask))
        scores["inside, true cells"].append(metrics.occupancy_iou(kept.sdf < 0, truth.sdf < 0))
        near = np.abs(truth.sdf) * lattice.reach < 1 / lattice.samples
        scores["colour"].append(float(np.abs(kept.colour - truth.colour)[near].mean()))
        scores["inside"].append(_both(slat, lattice, cells, z, again.numpy(), truth))
    names = {
        "cells": "IoU of active cells, %",
        "inside, true cells": "IoU of the inside, second stage, %",
        "inside": "IoU of the inside, both stages, %",
    }
    found = {label: 100 * fmean(scores[key]) for key, label in names.items()}
    return found | {"mean error of the colours, levels": 255 * fmean(scores["colour"])}


def _both(slat: Any, lattice: Lattice, cells: Cells, z: Any, again: np.ndarray, truth: Field) -> float:
    """With the decoded cells: those that were not there have no latent of their own and take the mean."""
    coords = np.argwhere(again)
    if not len(coords):
        return 0.0
    number = np.full((lattice.cells,) * 3, -1)
    number[tuple(cells.coords.T)] = np.arange(len(cells.coords))
    which = number[tuple(coords.T)]
    latents = slat.restored(torch.zeros(1, len(coords), z.shape[2]))
    latents[0, which >= 0] = z[0, which[which >= 0]]
    where = torch.from_numpy(coords)[None]
    field = _filled(lattice, coords, *slat.decode(latents, where, torch.ones(where.shape[:2], dtype=torch.bool)))
    return metrics.occupancy_iou(field.sdf < 0, truth.sdf < 0)


def _filled(lattice: Lattice, coords: np.ndarray, sdf: torch.Tensor, colour: torch.Tensor) -> Field:
    return lattice.fill(Cells(coords, sdf[0].clamp(-1, 1).numpy(), colour[0].clamp(0, 1).numpy()))


def _speck() -> Mesh:
    axis = (np.arange(8) + 0.5) / 8 - 0.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return isosurface(np.sqrt(x * x + y * y + z * z) - 0.15, np.full((8, 8, 8, 3), 0.5)).scaled(0.01)
