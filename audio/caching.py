"""How `fewstep cache tune` draws from a voice: the same few sentences, said with the voice's own steps."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fewstep.audio.models.generate import generate, grid
from fewstep.audio.models.prodiff import ProDiff
from fewstep.audio.text.frontend import phonemize
from fewstep.audio.text.symbols import INDEX
from fewstep.core import caches, checkpoint
from fewstep.core.build import build
from fewstep.core.caches.job import Job
from fewstep.core.errors import UsageError

SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "These days a chicken leg is a rare dish.",
    "Four hours of steady work faced us.",
)
"""From the Harvard list of IEEE 1969 (phonetically balanced); any would do."""


def cache_job(folder: Path, *, samples: int = 4, shape: object = None) -> Job:
    """A voice as something to cache.

    Parameters
    ----------
    folder
        Of a model of kind ``tts``.
    samples
        Sentences, 1 to 4, each a run of its own; what counts is the mel values of all of them in a row.
    shape
        Not for voices.

    Returns
    -------
    Job
        The denoiser's answer is what may be left out: its layers hand on two states each, which costs more to keep.

    Raises
    ------
    UsageError
        If `samples` is out of range, a shape is given, or the voice is of another make.
    """
    if not 1 <= samples <= len(SENTENCES) or shape is not None:
        raise UsageError(f"a voice is tuned on 1 to {len(SENTENCES)} sentences and has no shape: {samples=}, {shape=}")
    net, config = checkpoint.load(folder, kind="tts")
    if not isinstance(net, ProDiff):
        raise UsageError(f"{folder}: expected a ProDiff voice, got {type(net).__name__}")
    path, shift = build(config["path"]), float(config.get("shift", 1.0))
    tokens = [torch.tensor([[INDEX[t] for t in phonemize(text).tokens]]) for text in SENTENCES[:samples]]
    with torch.no_grad():
        conditions = [net.condition(each) for each in tokens]

    def draw(steps: int, seed: int) -> Tensor:
        said = [generate(net, path, cond, steps=steps, seed=seed, shift=shift)[0] for cond in conditions]
        return torch.cat([part.flatten() for part in said])[None]

    return Job(net.denoiser, draw, lambda steps: grid(path, steps, shift), [caches.whole()])
