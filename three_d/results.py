"""What the generator gives: a mesh with what it took to make it, ready to be saved, turned and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.three_d.mesh import clean
from fewstep.three_d.mesh.clean import MeshReport
from fewstep.three_d.mesh.gaussians import Gaussians, surfels
from fewstep.three_d.mesh.mesh import Mesh
from fewstep.three_d.render import turntable, viewer


@dataclass(frozen=True, eq=False)
class Shape:
    """One generated shape.

    Parameters
    ----------
    mesh
        Watertight, coloured, within the unit cube, y up, front +z.
    prompt
        What was asked for; empty if a picture alone was given.
    seed
        Of the noise it came from, which may be another than was asked for (`notes` says so).
    steps
        Of each stage.
    guidance_scale
        w as it was asked for; None: the model's own.
    nfe
        Network calls, both stages together.
    cells
        Active cells of the first stage.
    model
        Its name.
    seconds
        By stage: ``structure``, ``slat``, ``decode``, ``mesh``; of a batch, this shape's share.
    words, ignored
        What was understood of the prompt, and what was not.
    notes
        What happened on the way, for people.
    temperature
        Of the noise, as it was asked for; None: the model's own.
    """

    mesh: Mesh
    prompt: str = ""
    seed: int = 0
    steps: int = 1
    guidance_scale: float | None = None
    nfe: int = 0
    cells: int = 0
    model: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    temperature: float | None = None

    @property
    def name(self) -> str:
        """The prompt, or a stand-in."""
        return self.prompt or "shape of a picture"

    @property
    def facts(self) -> dict[str, Any]:
        """What files keep of its making."""
        told: dict[str, Any] = {"prompt": self.prompt} if self.prompt else {}
        told |= {"seed": self.seed, "steps": self.steps, "network calls": self.nfe}
        told |= {} if self.guidance_scale is None else {"guidance scale": self.guidance_scale}
        told |= {} if self.temperature is None else {"temperature": self.temperature}
        return told | ({"model": self.model} if self.model else {})

    @cached_property
    def gaussians(self) -> Gaussians:
        """Flat Gaussians on the surface; see `fewstep.three_d.mesh.gaussians.surfels`."""
        return surfels(self.mesh)

    def report(self, *, size: float | None = None) -> MeshReport:
        """What the mesh is like, with its longest side `size` metres; see `fewstep.three_d.mesh.clean.report`."""
        return clean.report(self.mesh, size=size)

    def simplified(self, faces: int) -> Shape:
        """The same with fewer faces; see `fewstep.three_d.mesh.clean.simplified`."""
        return replace(self, mesh=clean.simplified(self.mesh, faces))

    def smoothed(self, rounds: int = 10) -> Shape:
        """The same with a smoother surface; see `fewstep.three_d.mesh.clean.smoothed`."""
        return replace(self, mesh=clean.smoothed(self.mesh, rounds=rounds))

    def save(self, path: str | Path, *, size: float | None = None) -> Path:
        """Write a file: .glb, .obj, .ply or .stl; see `fewstep.three_d.mesh.export.save`.

        Parameters
        ----------
        path
            Its suffix says the format.
        size
            Metres of the longest side; None: 0.9 or so, as it is.

        Returns
        -------
        pathlib.Path
        """
        return self.mesh.save(path, size=size, facts=self.facts)

    def picture(self, path: str | Path | None = None, **options: Any) -> np.ndarray:
        """One view, uint8 [size, size, 4], also into a file; options as of `fewstep.three_d.render.portrait`."""
        drawn = turntable.portrait(self.mesh, **options)
        if path is not None:
            turntable.save_picture(path, drawn)
        return drawn

    def turntable(self, path: str | Path, **options: Any) -> Path:
        """Write a turn around it: .gif, .mp4 or .webp; options as of `fewstep.three_d.render.save_turntable`."""
        return turntable.save_turntable(path, self.mesh, **options)

    def html(self, path: str | Path) -> Path:
        """Write a page that shows it; see `fewstep.three_d.render.viewer`."""
        return viewer.save_page(path, [self.exhibit], title=self.name)

    def show(self, *, height: int = 480) -> None:
        """Show it in the notebook, or in the browser."""
        viewer.show([self.exhibit], height=height)

    @property
    def exhibit(self) -> viewer.Exhibit:
        """It, as the viewer takes it."""
        return viewer.Exhibit(self.mesh, self.name, self.facts)

    def _repr_html_(self) -> str:
        return viewer.frame([self.exhibit])
