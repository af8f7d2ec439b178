"""One recording through an enhancer: its level in a first pass, then its pieces, at its rate or the model's.

With y the recording at the model's rate and x the enhanced one, the answer is y + strength (x - y); at a higher rate of
the recording's own it is the recording plus that change, so that the band above the model's stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fewstep.audio.enhance.chunks import enhance_stream
from fewstep.audio.enhance.generate import clean_spectrum
from fewstep.audio.enhance.level import Level
from fewstep.audio.enhance.resample import Resampler

if TYPE_CHECKING:
    from fewstep.audio.enhance.api import Enhancer

MARGIN = 64
"""Frames of overlap for nets that look at everything (attention): their pieces differ a little from the whole."""

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Plan:
    """One recording's run.

    Parameters
    ----------
    enhancer
        Nets, path, sampler and level.
    rate
        Of the recording, Hz.
    steps, strength, keep_rate, seed, chunk_seconds
        As for a call of the enhancer, checked.
    """

    enhancer: Enhancer
    rate: int
    steps: int
    strength: float
    keep_rate: bool
    seed: int
    chunk_seconds: float

    def run(self, blocks: Blocks) -> Iterator[Tensor]:
        """Blocks of the recording in, blocks of the enhanced one out; `blocks` is called twice."""
        gain, mean = self._measure(blocks)
        for part in self._finished(blocks, gain, mean):
            yield torch.from_numpy(np.clip(part, -1, 1).astype(np.float32))

    def _measure(self, blocks: Blocks) -> tuple[float, np.ndarray]:
        level, total, count = Level(), 0.0, 0
        for block in self._at_model_rate(blocks()):
            level.add(block)
            total, count = total + block.sum(1, keepdims=True, dtype=np.float64), count + block.shape[1]
        return level.gain(self.enhancer.level), np.asarray(total / max(count, 1), np.float32)

    def _at_model_rate(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        return Resampler(self.rate, self.enhancer.sample_rate).stream(blocks)

    def _finished(self, blocks: Blocks, gain: float, mean: np.ndarray) -> Iterator[np.ndarray]:
        if not self.keep_rate or self.rate == self.enhancer.sample_rate:
            yield from (noisy + change for noisy, change in self._changes(blocks(), gain, mean))
            return
        if self.rate < self.enhancer.sample_rate:
            whole = (noisy + change for noisy, change in self._changes(blocks(), gain, mean))
            down = Resampler(self.enhancer.sample_rate, self.rate).stream(whole)
            yield from _aligned(blocks(), down, lambda own, clean: clean)
            return
        changes = (change for _, change in self._changes(blocks(), gain, mean))
        up = Resampler(self.enhancer.sample_rate, self.rate).stream(changes)
        yield from _aligned(blocks(), up, lambda own, change: own - mean + change)

    def _changes(
        self, blocks: Iterator[np.ndarray], gain: float, mean: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """At the model's rate: the recording without its offset, and what enhancement adds to it."""
        held: list[np.ndarray] = []

        def centred() -> Iterator[np.ndarray]:
            for block in self._at_model_rate(blocks):
                held.append(block - mean)
                yield gain * held[-1]

        spectrum, model = self.enhancer.model.spectrum, self.enhancer.model
        reach = model.reach(self.enhancer.sampler.calls(self.steps) if self.steps else 0)
        margin = MARGIN if reach is None else reach
        frames = max(8, margin, math.ceil(self.chunk_seconds * spectrum.sample_rate / spectrum.hop))
        stream = enhance_stream(centred(), self._clean, spectrum, frames=frames, margin=margin)
        for clean in stream:
            noisy = _take(held, clean.shape[-1])
            yield noisy, self.strength * (clean.numpy() / gain - noisy)

    @torch.inference_mode()
    def _clean(self, y: Tensor, first: int) -> Tensor:
        e = self.enhancer
        device = next(e.model.parameters()).device
        options: dict[str, Any] = {"parameterization": e.parameterization, "seed": self.seed, "first": first}
        options["sampler"] = e.sampler
        run = partial(clean_spectrum, e.model, e.path, steps=self.steps, **options)  # one noise for all channels
        return torch.cat([run(y=channel[None].to(device))[0].cpu() for channel in y])


def _take(held: list[np.ndarray], n: int) -> np.ndarray:
    """The first n samples of a queue of blocks, which shrinks."""
    taken: list[np.ndarray] = []
    while n:
        block = held.pop(0)
        taken.append(block[:, :n])
        if block.shape[1] > n:
            held.insert(0, block[:, n:])
        n -= taken[-1].shape[1]
    return np.concatenate(taken, 1)


def _aligned(
    own: Iterator[np.ndarray],
    other: Iterator[np.ndarray],
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Iterator[np.ndarray]:
    """Two streams of one rate, combined block by block; the other's end is cut or lengthened with zeros."""
    held: list[np.ndarray] = []
    for block in own:
        have = sum(part.shape[1] for part in held)
        while have < block.shape[1] and (part := next(other, None)) is not None:
            held.append(part)
            have += part.shape[1]
        if have < block.shape[1]:
            held.append(np.zeros((block.shape[0], block.shape[1] - have), np.float32))
        yield combine(block, _take(held, block.shape[1]))
