"""The 3D part of `fewstep demo`: shapes of words, and one more of a picture of the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewstep.core import hub
from fewstep.three_d.api import DEFAULT, ShapeGenerator, Wish
from fewstep.three_d.corpus import make
from fewstep.three_d.lattice import Lattice
from fewstep.three_d.mesh.isosurface import isosurface
from fewstep.three_d.render.raster import render
from fewstep.three_d.render.turntable import save_picture, save_turntable, sheet
from fewstep.three_d.render.viewer import save_page
from fewstep.three_d.results import Shape

PROMPTS = ("a tall red chair with four white legs", "a blue mug with a handle", "a white desk lamp", "a red car")
AZIMUTH, ELEVATION = 35.0, 20.0


def demonstrate(out: Path) -> dict[str, Any]:
    """Make the shapes and write them.

    Parameters
    ----------
    out
        Gets `shape.glb`, `shape.gif` (the first), `shapes.png` and `shapes.html` (all).

    Returns
    -------
    dict
        Files and figures; without the model that ships, of shapes of the corpus.
    """
    torch.set_flush_denormal(True)
    told: dict[str, Any] = {}
    if DEFAULT in dict(hub.shipped()):
        generator = ShapeGenerator.load(device="cpu")
        shapes = generator.make([Wish(prompt) for prompt in PROMPTS])
        view = _seen(shapes[0], generator.picture_size)
        again = generator.make([Wish(image=view)])[0]
        shapes.append(again)
        told["network calls"] = shapes[0].nfe
        told["seconds a shape"] = round(sum(sum(shape.seconds.values()) for shape in shapes) / len(shapes), 2)
        told["overlap of the picture and the shape made of it"] = round(_overlap(view, again), 3)
    else:
        shapes = [_procedural(number) for number in range(len(PROMPTS))]
    told["watertight"] = f"{sum(shape.mesh.watertight for shape in shapes)} of {len(shapes)}"
    told["mesh"] = str(shapes[0].save(out / "shape.glb"))
    told["turntable"] = str(save_turntable(out / "shape.gif", shapes[0].mesh, count=18, size=160))
    names = [shape.name for shape in shapes]
    told["picture"] = str(save_picture(out / "shapes.png", sheet([shape.mesh for shape in shapes], names)))
    told["page"] = str(save_page(out / "shapes.html", [shape.exhibit for shape in shapes]))
    return told


def _overlap(view: np.ndarray, shape: Shape) -> float:
    """Intersection over union of the silhouettes, from the place where the picture was taken."""
    seen = _seen(shape, view.shape[0])[..., 3] > 127
    given = view[..., 3] > 127
    return float((seen & given).sum() / max((seen | given).sum(), 1))


def _seen(shape: Shape, size: int) -> np.ndarray:
    return render(shape.mesh, size=size, azimuth=AZIMUTH, elevation=ELEVATION)


def _procedural(number: int) -> Shape:
    lattice, solid = Lattice(60, 5), make(number, seed=1)
    field = lattice.fill(lattice.take(solid))
    return Shape(isosurface(field.sdf, field.colour), solid.caption(), number, model="corpus")
