"""Change of sample rate for recordings that come in blocks, the same for any size of block (libsoxr)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Resampler:
    """From one rate to another, both in Hz; equal rates pass through."""

    rate: int
    new_rate: int

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks float32 [channels, n] in, such blocks out, about n * new_rate / rate samples without delay."""
        if self.rate == self.new_rate:
            yield from blocks
            return
        import soxr

        stream, previous = None, None
        for block in blocks:
            if stream is None:
                stream = soxr.ResampleStream(self.rate, self.new_rate, block.shape[0], dtype="float32")
            elif (out := _through(stream, previous, last=False)).shape[1]:
                yield out
            previous = block
        if stream is not None and (out := _through(stream, previous, last=True)).shape[1]:
            yield out


def _through(stream, block: np.ndarray | None, *, last: bool) -> np.ndarray:
    assert block is not None
    samples = np.ascontiguousarray(block.T, np.float32)
    out = stream.resample_chunk(samples if block.shape[0] > 1 else samples[:, 0], last=last)
    return np.ascontiguousarray(out.reshape(len(out), block.shape[0]).T)
