"""A recording of any length through an enhancer, in constant memory: pieces that overlap by what the nets can see.

Piece by piece, frames [a - m, b + m) are computed, and [a, b) are kept: with m at least the reach of all network calls
together, and noise that depends on the frame's place alone, the pieces are those of the whole recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewstep.audio.enhance.stft import Spectrum

Clean = Callable[[Tensor, int], Tensor]
"""``clean(y, first)``: complex [channels, F, T] that begins at frame `first` of the recording, to the same."""

SEAM = 2  # frames on either side that share samples with a frame


def enhance_stream(
    blocks: Iterable[np.ndarray], clean: Clean, spectrum: Spectrum, *, frames: int, margin: int
) -> Iterator[Tensor]:
    """Enhance a recording that comes in blocks.

    Parameters
    ----------
    blocks
        float32 [channels, any number of samples], in order; the channels keep their relation in phase and level.
    clean
        The enhancer.
    spectrum
        The transform.
    frames
        Of a piece.
    margin
        Further frames that are computed on either side of a piece.

    Yields
    ------
    Tensor
        float32 [channels, samples] in order; together as many samples as came in.
    """
    hop, half, m = spectrum.hop, spectrum.n_fft // 2, margin + SEAM
    held, offset, a, ended = None, 0, 0, False  # held: samples from `offset` on; a: first frame of the piece
    source = iter(blocks)
    while True:
        while not ended and (held is None or offset + held.shape[1] <= (a + frames + m) * hop + half):
            block = next(source, None)
            if block is None:
                ended = True
            else:
                held = block if held is None else np.concatenate([held, block], axis=1)
        if held is None or not offset + held.shape[1]:
            return
        total = offset + held.shape[1] if ended else None
        b = a + frames
        first, last = max(0, a - m), b + m if total is None else min(b + m, spectrum.frames(total))
        cut = _padded(held, first * hop - half - offset, (last - 1) * hop + half - offset, spectrum.pad)
        y = spectrum.forward(torch.from_numpy(cut), padded=True)
        x = _silence_kept(_one_factor(clean(y, first), y), y)
        end = b * hop if total is None else min(b * hop, total)
        yield _between(x, spectrum, first, a * hop, end)
        if total is not None and end >= total:
            return
        a = b
        drop = max(0, (a - m) * hop - half - offset)
        held, offset = held[:, drop:], offset + drop


def _padded(held: np.ndarray, start: int, end: int, pad: str) -> np.ndarray:
    """Samples [start, end) of what is held, with what the transform assumes beyond the recording's ends."""
    before, after = max(0, -start), max(0, end - held.shape[1])
    inner = held[:, max(0, start) : min(end, held.shape[1])]
    short = pad == "reflect" and inner.shape[1] <= max(before, after)  # too short to reflect
    return np.pad(inner, ((0, 0), (before, after)), mode="constant" if short or pad == "constant" else "reflect")


def _between(x: Tensor, spectrum: Spectrum, first: int, start: int, end: int) -> Tensor:
    """Samples [start, end) of the recording, from frames that begin at `first`."""
    offset = first * spectrum.hop - spectrum.n_fft // 2
    wav = spectrum.synthesise(x)
    if short := end - offset - wav.shape[-1]:
        wav = functional.pad(wav, (0, max(0, short)))
    return wav[:, start - offset : end - offset]


def _one_factor(x: Tensor, y: Tensor) -> Tensor:
    """Several channels through the one complex factor per bin that fits all their answers best.

    h = sum_c x_c conj(y_c) / sum_c |y_c|^2, so that h y_c keeps the channels' relation, and |h y| <= |x|.
    """
    if len(y) == 1:
        return x
    power = (y.real.square() + y.imag.square()).sum(0).clamp(min=1e-20)
    return y * ((x * y.conj()).sum(0) / power)


def _silence_kept(x: Tensor, y: Tensor) -> Tensor:
    """Frames of digital silence stay silent (up to rounding: some 110 dB below the level of speech)."""
    return x * (y.abs().amax((0, 1), keepdim=True) > 1e-3)
