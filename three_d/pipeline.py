"""From a condition to a field: occupancy latents, active cells, a latent per cell, distances and colours.

Both flows are rectified, x_t = (1 − t) x0 + t z, and are followed by Euler steps on the times of TRELLIS' sampler,
t = s u / (1 + (s − 1) u) for u even from 1 to 0 and s the shift (arXiv:2412.01506; official default s = 3), with
classifier-free guidance at the times of an interval. A student's guidance is built in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fewstep.core import guide, rng, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained
from fewstep.core.sample import sample
from fewstep.three_d.lattice import Cells, Field
from fewstep.three_d.pretrained import Models

FURTHER = 1_000_003
"""How far the next seed is from one that gave an empty shape: not the seed of the next shape."""

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``."""


@dataclass(frozen=True)
class Told:
    """What one shape is to be: words, a picture, or both.

    Parameters
    ----------
    words
        Numbers of words, int64 [L] (`fewstep.three_d.text.encode`); None: no words.
    image
        RGBA in [0, 1], alpha the silhouette, float32 [P, P, 4] with P of the model; None: no picture.
    """

    words: np.ndarray | None = None
    image: np.ndarray | None = None


@dataclass(frozen=True)
class Draw:
    """One generated shape.

    Parameters
    ----------
    field
        To be meshed.
    seed
        That made it; another than asked for if that one gave an empty shape.
    cells
        Active cells.
    nfe
        Network calls of both stages together.
    seconds
        Of the nets alone, for the whole batch: ``structure``, ``slat``, ``decode``.
    notes
        What happened on the way, for people.
    """

    field: Field
    seed: int
    cells: int
    nfe: int
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How both stages are sampled; None takes what the model was made for.

    Parameters
    ----------
    steps
        Of each stage.
    guidance_scale
        w; 1 is off.
    interval
        Times (lowest, highest) at which guidance is on.
    shift
        s; None: the one of the stage's own config, or of the model's.
    temperature
        Factor of the noise that both stages start from: below 1 shapes vary less and come out cleaner.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    interval: tuple[float, float] | None = None
    shift: float | None = None
    temperature: float | None = None


def generate(
    models: Models,
    told: Sequence[Told],
    *,
    seeds: Sequence[int],
    options: Options | None = None,
    retries: int = 4,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> list[Draw]:
    """Draw one shape for each condition.

    A shape is a function of its condition and its seed, whatever the batch.

    Parameters
    ----------
    models
        See `fewstep.three_d.pretrained.load`.
    told
        The conditions.
    seeds
        One per condition.
    options
        How to sample.
    retries
        How many further seeds to try for a shape without any active cell.
    batch_size
        Shapes at once.
    progress
        Told after each stage of each batch.

    Returns
    -------
    list of Draw

    Raises
    ------
    UsageError
        If the numbers of conditions and seeds differ, a picture has another size than the model's, guidance is asked
        of a student, or a shape stays empty.
    """
    if len(told) != len(seeds):
        raise UsageError(f"expected one seed per condition, got {len(told)} conditions and {len(seeds)} seeds")
    options = options or Options()
    found: list[Draw] = []
    for first in range(0, len(told), batch_size):
        part = slice(first, first + batch_size)
        found += _batch(models, told[part], [int(s) for s in seeds[part]], options, retries)
        if progress is not None:
            progress("shapes", len(found), len(told))
    return found


@torch.inference_mode()
def _batch(models: Models, told: Sequence[Told], seeds: list[int], options: Options, retries: int) -> list[Draw]:
    notes: list[tuple[str, ...]] = [()] * len(told)
    start = perf_counter()
    coords, calls = structures(models, told, seeds, options)
    for _ in range(retries):
        empty = [i for i, found in enumerate(coords) if not len(found)]
        if not empty:
            break
        for i in empty:
            notes[i] += (f"seed {seeds[i]} gave an empty shape, took {seeds[i] + FURTHER}",)
            seeds[i] += FURTHER
        again, more = structures(models, [told[i] for i in empty], [seeds[i] for i in empty], options)
        calls += more
        for i, found in zip(empty, again, strict=True):
            coords[i] = found
    if any(not len(found) for found in coords):
        raise UsageError(f"no shape after {retries + 1} seeds: try more steps, or another prompt")
    middle = perf_counter()
    z, where, mask, more = latents(models, told, coords, seeds, options)
    end = perf_counter()
    sdf, colour = models.slat_vae.decode(models.slat_vae.restored(z), where, mask)
    fields = [
        models.lattice.fill(Cells(c.numpy(), s[m].clamp(-1, 1).cpu().numpy(), k[m].clamp(0, 1).cpu().numpy()))
        for c, s, k, m in zip(coords, sdf.float(), colour.float(), mask, strict=True)
    ]
    seconds = {"structure": middle - start, "slat": end - middle, "decode": perf_counter() - end}
    return [
        Draw(field, seed, len(cells), calls + more, seconds, note)
        for field, seed, cells, note in zip(fields, seeds, coords, notes, strict=True)
    ]


def structures(
    models: Models, told: Sequence[Told], seeds: Sequence[int], options: Options
) -> tuple[list[Tensor], int]:
    """First stage: the active cells of each shape, int64 [n, 3] on the CPU, sorted, and the network calls."""
    vae = models.structure_vae
    shape = (len(told), vae.latent, *[vae.side] * 3)

    def draw(*keys: int) -> Tensor:
        return rng.normal(shape, [rng.generator(s, 1, *keys) for s in seeds], torch.float32, models.device)

    z, calls = _follow(models, models.structure, draw, _cond(models, models.structure, told), options)
    logits = vae.decode(vae.restored(z))[:, 0]
    return [torch.nonzero(one > 0).cpu() for one in logits], calls


def latents(
    models: Models, told: Sequence[Told], coords: Sequence[Tensor], seeds: Sequence[int], options: Options
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Second stage: latents [B, N, C], their cells int64 [B, N, 3], mask bool [B, N], and the network calls.

    The noise of a cell depends on the seed and on where the cell is, not on how many others there are.
    """
    vae, most = models.slat_vae, max(len(found) for found in coords)
    mask = torch.arange(most)[None] < torch.tensor([len(found) for found in coords])[:, None]
    where = torch.zeros(*mask.shape, 3, dtype=torch.long)
    where[mask] = torch.cat(list(coords))
    grid = (*[vae.resolution] * 3, vae.latent)
    at, there = (torch.arange(len(seeds))[:, None], *where.unbind(2)), mask[..., None]

    def draw(*keys: int) -> Tensor:
        whole = rng.normal((len(seeds), *grid), [rng.generator(s, 2, *keys) for s in seeds], torch.float32, "cpu")
        return (whole[at] * there).to(models.device)

    where, mask = where.to(models.device), mask.to(models.device)
    cond = _cond(models, models.slat, told) | {"coords": where, "mask": mask}
    z, calls = _follow(models, models.slat, draw, cond, options)
    return z, where, mask, calls


@dataclass(frozen=True)
class _Fresh:
    """Noise for steps that draw some."""

    draw: Callable[..., Tensor]

    def on(self, path: Any, times: Any, amounts: Any, streams: Any) -> rng.Fill:
        """That of row i."""
        return lambda out, i: out.copy_(self.draw(i + 1))


def _follow(
    models: Models, model: Pretrained, draw: Callable[..., Tensor], cond: dict[str, Any], options: Options
) -> tuple[Tensor, int]:
    settings, net = models.config, cast(Any, model.net)
    student = "distilled" in model.config
    w = options.guidance_scale
    if student and w not in (None, 1, 1.0):
        raise UsageError(f"guidance_scale={w}: a student has its guidance built in; take the teacher, shapes-flow")
    w = (1.0 if student else float(settings.get("guidance_scale", 1.0))) if w is None else w
    low, high = options.interval or settings.get("interval") or (0.0, 1.0)
    steps = options.steps or model.steps
    if steps < 1:
        raise UsageError(f"steps is at least 1, got {steps}")
    own = float(model.config.get("shift", settings.get("shift", 1.0)))
    shift = own if options.shift is None else options.shift
    temperature = float(settings.get("temperature", 1.0)) if options.temperature is None else options.temperature
    if not 0 <= temperature < math.inf:
        raise UsageError(f"temperature is at least 0, got {temperature}")
    grid = times.shift(times.uniform(model.path, steps), shift)
    denoise = model.denoise(cond=net.tell(cond))
    if w != 1:
        blank = cond | {key: torch.zeros_like(cond[key]) for key in ("words", "image")}
        denoise = guide.cfg(denoise, model.denoise(cond=net.tell(blank)), w, interval=(low, high))
    solver, x = model.solver or solvers.ddim(), draw() * temperature
    drawn = sample(denoise, model.path, times=grid, solver=solver, x=x, noise=_Fresh(draw))
    return drawn.x, drawn.nfe


def _cond(models: Models, model: Pretrained, told: Sequence[Told]) -> dict[str, Tensor]:
    net: Any = model.net
    length, size = net.condition.length, net.condition.picture
    words = np.zeros((len(told), length), np.int64)
    images = np.zeros((len(told), 4, size, size), np.float32)
    for i, one in enumerate(told):
        if one.words is not None:
            words[i] = one.words
        if one.image is not None:
            if one.image.shape != (size, size, 4):
                raise UsageError(f"expected a picture [{size}, {size}, 4], got {list(one.image.shape)}")
            images[i] = one.image.transpose(2, 0, 1)
    return {"words": torch.from_numpy(words).to(models.device), "image": torch.from_numpy(images).to(models.device)}
