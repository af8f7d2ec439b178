"""A denoiser that looks at each sample mirrored and moved in another way in every step, and turns its answer back.

    D'(x) = T^-1 D(T x),   T = flips and circular shifts drawn from (seed, sample, t)

A net is only nearly equivariant; its errors then differ from step to step and from sample to sample, and average out,
as they do in cycle spinning of wavelets (Coifman & Donoho 1995, doi:10.1007/978-1-4612-2544-7_9). No call is added.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fewstep.core import nfe, rng
from fewstep.core.types import Denoise

REACH = 8
"""Shifts are drawn below this, in pixels: the coarsest grid of the nets that ship."""


def turned(denoise: Denoise, seeds: list[int], *, extra: Tensor | None = None) -> Denoise:
    """Turn what a denoiser sees.

    Parameters
    ----------
    denoise
        ``denoise(x, t)``, or ``denoise(x, t, extra)`` if there are planes to be turned with the state.
    seeds
        One per sample.
    extra
        Real or complex, [1, channel, y, x]: a condition image, the same for all samples.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat`` for x [sample, y, x]; a function of its arguments, costs one call.
    """

    def looked(x: Tensor, t: Tensor) -> Tensor:
        turns = [_draw(seed, float(t)) for seed in seeds]
        state = torch.stack([_turn(item, *turn) for item, turn in zip(x, turns, strict=True)])
        if extra is None:
            answer = nfe.call(denoise, state, t)
        else:
            planes = torch.stack([_turn(extra[0], *turn) for turn in turns])
            answer = nfe.call(lambda x, t: denoise(x, t, planes), state, t)  # type: ignore[call-arg]
        return torch.stack([_back(item, *turn) for item, turn in zip(answer, turns, strict=True)])

    return looked


def _draw(seed: int, t: float) -> tuple[list[int], list[int]]:
    generator = rng.generator(seed, round(t * 1e6))
    flips = torch.randint(2, (2,), generator=generator).tolist()
    shifts = torch.randint(REACH, (2,), generator=generator).tolist()
    return [axis - 2 for axis in range(2) if flips[axis]], shifts


def _turn(x: Tensor, flips: list[int], shifts: list[int]) -> Tensor:
    return torch.roll(x, shifts, (-2, -1)).flip(flips)


def _back(x: Tensor, flips: list[int], shifts: list[int]) -> Tensor:
    return torch.roll(x.flip(flips), [-s for s in shifts], (-2, -1))
