"""From noisy spectra to clean ones: the predictive guess, and the diffusion from it, with noise that knows its place.

The noise of a frame depends on the seed, the step and the frame's position in the recording alone, so a piece of a long
recording becomes what it becomes in the whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.audio.enhance.samplers import Even, Sampler
from fewstep.audio.models.enhance_system import Enhancement
from fewstep.core import parameterize, rng
from fewstep.core.paths import AffinePath
from fewstep.core.sample import sample

BLOCK = 64  # frames that are drawn together


@dataclass(frozen=True)
class Placed:
    """Noise by position: a kind of noise for `fewstep.core.sample.sample`.

    Parameters
    ----------
    seed
        Whole number, not negative.
    first
        Frame of the recording at which the state begins; may be negative.
    """

    seed: int
    first: int = 0

    def on(self, path: Any, grid: Any, amounts: Any, streams: Sequence[torch.Generator]) -> rng.Fill:
        """The noise of each draw of a run, in the order in which it is asked."""
        draws = itertools.count(1)
        return lambda out, i: out.copy_(self.draw(out.shape[1], out.shape[2], next(draws), out.dtype))

    def draw(self, bins: int, frames: int, number: int, dtype: torch.dtype = torch.complex64) -> Tensor:
        """Complex noise [bins, frames], the same for every item of a batch; number 0 is the prior's."""
        start, blocks = self.first // BLOCK, -(-(self.first % BLOCK + frames) // BLOCK)
        drawn = [
            torch.randn(bins, BLOCK, generator=rng.generator(self.seed, number, 2**20 + start + k), dtype=dtype)
            for k in range(blocks)
        ]
        return torch.cat(drawn, 1)[:, self.first % BLOCK :][:, :frames]


def clean_spectrum(
    model: Enhancement,
    path: AffinePath | None,
    y: Tensor,
    *,
    steps: int,
    parameterization: str = "x0",
    seed: int = 0,
    first: int = 0,
    sampler: Sampler | None = None,
) -> tuple[Tensor, int]:
    """Enhance compressed spectra.

    Parameters
    ----------
    model
        The nets.
    path
        Of the diffusion; may be None for no steps.
    y
        Complex [B, F, T].
    steps
        Steps of the diffusion; 0 gives the predictive guess.
    parameterization
        What the diffusion net says.
    seed, first
        Of the noise, and the frame of the recording at which `y` begins.
    sampler
        From steps to a solver and times; default `Even`.

    Returns
    -------
    x0 : Tensor
        Like `y`.
    nfe : int
        Calls of the diffusion net.
    """
    d = model.guess(y)
    if steps == 0 or model.net is None or path is None:
        return d, 0
    denoise = getattr(parameterize, parameterization)(model.net, path, y=d, cond=model.told(y, d))
    noise = Placed(seed, first)
    solver, grid = (sampler or Even()).plan(path, steps)
    drawn = noise.draw(y.shape[1], y.shape[2], 0, y.dtype).to(y.device)
    start = path.prior(drawn.expand_as(y), d, t=float(grid[0]))
    done = sample(denoise, path, times=grid, solver=solver, x=start, y=d, generator=seed, noise=noise)
    return done.x, done.nfe
