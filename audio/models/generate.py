"""Sampling a mel spectrogram from ProDiff with the core's sampler."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from torch import Tensor

from fewstep.audio.models.condition import Condition
from fewstep.audio.models.prodiff import ProDiff
from fewstep.core import caches, parameterize, sample, solvers, times
from fewstep.core.paths import AffinePath
from fewstep.core.sample import StepInfo, StopSampling


def generate(
    net: ProDiff,
    path: AffinePath,
    cond: Condition,
    *,
    steps: int,
    seed: int,
    shift: float = 1.0,
    stochastic: bool = False,
    stop: int | None = None,
    cache: Sequence[caches.Cache] = (),
) -> tuple[Tensor, int]:
    """Standardised mel [B, n_mels, T] for a condition, and the number of network calls.

    Parameters
    ----------
    net, path, cond
        The voice, its process, and what to say.
    steps : int
        Times are spread evenly over (0, 1], as the paper's.
    seed : int
        Item i of the batch has its own stream of noise.
    shift : float
        Below 1 moves the times towards the data (`fewstep.core.times.shift`); what the voice was trained for.
    stochastic : bool
        DDPM's posterior steps (the paper's teacher) instead of deterministic DDIM steps.
    stop : int, optional
        Leave after this many network calls with the estimate of x0 at that point.
    cache : sequence of Cache
        Of the denoiser, for this grid (`fewstep.core.caches`); skipped rows are no network calls.
    """

    def leave(info: StepInfo) -> None:
        if info.i + 1 == stop:
            raise StopSampling(info.denoised)

    at = grid(path, steps, shift)
    with caches.attach(net.denoiser, *cache, times=at) if cache else nullcontext():
        out = sample(
            parameterize.x0(net, path, cond=net.prepare(cond)),
            path,
            times=at,
            solver=solvers.ddpm() if stochastic else solvers.ddim(),
            shape=(len(cond.frames), net.mel.n_mels, cond.frames.shape[-1]),
            device=cond.frames.device,
            dtype=cond.frames.dtype,
            generator=seed,
            callback=leave,
        )
    return out.x * cond.mask, out.nfe


def grid(path: AffinePath, steps: int, shift: float = 1.0) -> Tensor:
    """Times of `generate`, decreasing, [steps + 1]."""
    return times.shift(times.uniform(path, steps), shift)
