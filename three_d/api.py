"""Shapes from words, from a picture, or from both, in a few network calls.

>>> from fewstep.three_d import ShapeGenerator
>>> generator = ShapeGenerator.load()
>>> shape = generator("a tall red chair with four white legs", seed=1)
>>> shape.save("chair.glb")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from fewstep.core.errors import UsageError
from fewstep.three_d import picture, pipeline, pretrained, text
from fewstep.three_d.mesh.bridge import GAP, bridged
from fewstep.three_d.mesh.clean import ROUNDS, SHARE, smoothed, without_crumbs
from fewstep.three_d.mesh.isosurface import isosurface
from fewstep.three_d.pipeline import Draw, Options, Told
from fewstep.three_d.pretrained import Models
from fewstep.three_d.results import Shape

DEFAULT = "shapes-mdt"
BATCH, FEW = 16, 2
"""Shapes at once on a GPU, halved when memory runs out; and on a CPU, where 16 take up to 1.9 times as long each."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Wish:
    """One shape that is wanted.

    Parameters
    ----------
    prompt
        Words; empty or None: a picture alone.
    image
        See `fewstep.three_d.picture.read`; None: words alone.
    seed
        Equal seeds give equal shapes.
    """

    prompt: str | None = None
    image: Any = None
    seed: int = 0


@dataclass(frozen=True)
class _Mending:
    """What is done to meshes, and how many were drawn together."""

    share: float
    bridge: float
    smooth: int
    together: int


@dataclass(frozen=True)
class ShapeGenerator:
    """A checkpoint, ready to be called.

    Parameters
    ----------
    models
        See `fewstep.three_d.pretrained`.
    name
        Of the model, for reports.
    """

    models: Models
    name: str = "model"

    @classmethod
    def load(
        cls, name: str | Path = DEFAULT, *, device: str | torch.device = "auto", threads: int | None = None
    ) -> ShapeGenerator:
        """Load by name.

        Parameters
        ----------
        name
            ``"shapes-mdt"`` (few steps), ``"shapes-flow"`` (its teacher, with guidance), a folder or a hub id.
        device
            Where the nets run; ``"auto"``: a GPU if there is one.
        threads
            Of the CPU, for the whole process; None leaves what is set.

        Returns
        -------
        ShapeGenerator

        Raises
        ------
        UsageError
            If there is no such model, the device cannot be used, or `threads` is not positive.
        """
        if threads is not None:
            if threads < 1:
                raise UsageError(f"threads is at least 1, got {threads}")
            torch.set_num_threads(threads)
        where = ("cuda" if torch.cuda.is_available() else "cpu") if str(device) == "auto" else device
        try:
            torch.empty(1, device=where)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {where} cannot be used here: {str(error).splitlines()[0]}") from None
        return cls(pretrained.load(name, device=where), Path(name).name)

    def __call__(
        self,
        prompt: str | None = None,
        *,
        image: Any = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        temperature: float | None = None,
        seed: int = 0,
        num: int = 1,
        share: float = SHARE,
        bridge: float = GAP,
        smooth: int = ROUNDS,
        progress: Progress | None = None,
    ) -> Any:
        """Make a shape, or several of the same.

        Parameters
        ----------
        prompt
            Such as ``"a tall red chair with four white legs"``; the words it may have: `fewstep.three_d.text`.
        image
            Of one object: a file, a Pillow image or an array, transparent or before a plain background. With a prompt
            too, both count.
        steps
            Of each stage; None: what the model was made for.
        guidance_scale
            w, for teachers; None: the model's own; 1 is off.
        temperature
            Factor of the noise: below 1 shapes vary less and come out cleaner; None: the model's own.
        seed
            Equal seeds give equal shapes, whatever else is made with them.
        num
            How many: of the seeds `seed`, `seed` + 1, ...
        share
            Parts with less of the volume are dropped, and hollows filled; 0 keeps all.
        bridge
            Widest gap, as a part of the longest side there can be, across which a loose part is joined; 0 joins none.
        smooth
            Rounds of smoothing, which keep the volume; 0 keeps the surface as it was decoded.
        progress
            Called with the part that is done.

        Returns
        -------
        Shape
            If `num` is 1, else a list of them.

        Raises
        ------
        UsageError
            If neither words nor a picture are given, either cannot be understood, an option is impossible, memory is
            not enough, or nothing came out for several seeds.
        """
        if num < 1:
            raise UsageError(f"num is at least 1, got {num}")
        wishes = [Wish(prompt, image, seed + k) for k in range(num)]
        options: dict[str, Any] = {"steps": steps, "guidance_scale": guidance_scale, "temperature": temperature}
        options |= {"share": share, "bridge": bridge, "smooth": smooth}
        made = self.make(wishes, progress=progress, **options)
        return made if num > 1 else made[0]

    def make(
        self,
        wishes: Sequence[Wish],
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        temperature: float | None = None,
        share: float = SHARE,
        bridge: float = GAP,
        smooth: int = ROUNDS,
        progress: Progress | None = None,
    ) -> list[Shape]:
        """Make many shapes, some at a time; as for a call, but each wish has its own words, picture and seed."""
        if steps is not None and steps < 1:
            raise UsageError(f"steps is at least 1, got {steps}")
        if smooth < 0 or bridge < 0 or not 0 <= share <= 1:
            raise UsageError(
                f"expected smooth >= 0, bridge >= 0 and a share from 0 to 1, got {smooth}, {bridge} and {share}"
            )
        told, prompts = self._understood(wishes)
        options = Options(steps=steps, guidance_scale=guidance_scale, temperature=temperature)
        found: list[Shape] = []
        size = FEW if self.models.device.type == "cpu" else BATCH
        while len(found) < len(wishes):
            part = slice(len(found), len(found) + size)
            try:
                drawn = self._drawn(told[part], [w.seed for w in wishes[part]], options)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if size == 1:
                    raise UsageError(
                        "memory is not enough for one shape: close other programs, or take another device"
                    ) from None
                size //= 2
                continue
            for draw, prompt, wish in zip(drawn, prompts[part], wishes[part], strict=True):
                found.append(self._shape(draw, prompt, wish, options, _Mending(share, bridge, smooth, len(drawn))))
            if progress is not None:
                progress(len(found) / len(wishes))
        return found

    def _understood(self, wishes: Sequence[Wish]) -> tuple[list[Told], list[text.Prompt | None]]:
        told: list[Told] = []
        prompts: list[text.Prompt | None] = []
        read: dict[int, Any] = {}
        for wish in wishes:
            if wish.seed < 0:
                raise UsageError(f"a seed is a whole number of at least 0, got {wish.seed}")
            if not wish.prompt and wish.image is None:
                raise UsageError("say what to make: give a prompt, an image, or both")
            prompt = text.encode(wish.prompt) if wish.prompt else None
            if wish.image is not None and id(wish.image) not in read:
                read[id(wish.image)] = picture.read(wish.image, size=self.picture_size)
            image = None if wish.image is None else read[id(wish.image)]
            told.append(Told(None if prompt is None else prompt.ids, image))
            prompts.append(prompt)
        return told, prompts

    def _drawn(self, told: Sequence[Told], seeds: Sequence[int], options: Options) -> list[Draw]:
        return pipeline.generate(self.models, told, seeds=seeds, options=options, batch_size=len(told))

    def _shape(self, draw: Draw, prompt: text.Prompt | None, wish: Wish, options: Options, mending: _Mending) -> Shape:
        begun = perf_counter()
        field, joined = bridged(
            draw.field, unit=float(self.models.lattice.block), gap=mending.bridge, share=mending.share
        )
        mesh, crumbs = without_crumbs(isosurface(field.sdf, field.colour), share=mending.share)
        mesh = smoothed(mesh, rounds=mending.smooth)
        seconds = {stage: total / mending.together for stage, total in draw.seconds.items()}
        notes = (*(() if prompt is None else prompt.notes), *draw.notes)
        if joined:
            notes += (f"joined {joined} loose part{'s' if joined > 1 else ''}",)
        if crumbs:
            notes += (f"dropped {crumbs} small part{'s' if crumbs > 1 else ''}",)
        return Shape(
            mesh, wish.prompt or "", draw.seed, options.steps or int(self.models.structure.steps),
            options.guidance_scale, draw.nfe, draw.cells, self.name, seconds | {"mesh": perf_counter() - begun},
            () if prompt is None else prompt.words, () if prompt is None else prompt.ignored, notes,
            options.temperature,
        )  # fmt: skip

    @property
    def picture_size(self) -> int:
        """Pixels a side of the pictures that the nets are told."""
        net: Any = self.models.structure.net
        return int(net.condition.picture)


def _out_of_memory(error: BaseException) -> bool:
    told = str(error).lower()
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or any(
        words in told for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
