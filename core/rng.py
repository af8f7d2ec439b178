"""Random streams: one per item of a batch, so that what an item becomes depends neither on its batch nor on its place.

Noise is drawn on the stream's own device (the CPU unless the caller brings others) and then moved, so that results do
not depend on where the net runs. The global random state is neither read nor changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError

Seed = int | torch.Generator | Sequence[torch.Generator] | None

Fill = Callable[[Tensor, int], Tensor]
"""``fill(out, i)`` writes the standard normal noise of row i over `out` [batch, ...] and returns it."""

_STRIDE, _WORD = 0x9E3779B1, 1 << 32


def generator(seed: int, *keys: int) -> torch.Generator:
    """A stream of its own for a seed and any further numbers (epoch, batch, rank).

    Parameters
    ----------
    seed, keys
        Whole numbers, not negative.

    Returns
    -------
    torch.Generator
        On the CPU.

    Raises
    ------
    UsageError
        If a number is negative.
    """
    for number in (seed, *keys):
        if number < 0:
            raise UsageError(f"a seed is a whole number of at least 0, got {number}")
    word = int(np.random.SeedSequence((seed, *keys, 1 + len(keys))).generate_state(1)[0])
    return torch.Generator().manual_seed(word)


def streams(seed: Seed, n: int) -> list[torch.Generator]:
    """One stream for each of n items.

    Parameters
    ----------
    seed
        A number: item i's stream is a function of (seed, i). A generator: one number is drawn from it and used so. A
        list of n generators: returned as it is. None: fresh entropy.
    n
        Number of items.

    Returns
    -------
    list of torch.Generator
        Length n.

    Raises
    ------
    UsageError
        If a list has another length, or the seed is negative.
    TypeError
        If `seed` is none of these.
    """
    if seed is None:
        seed = torch.Generator().seed()
    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(1 << 62, (), generator=seed, device=seed.device))
    if isinstance(seed, Integral):
        first = generator(int(seed)).initial_seed()
        return [torch.Generator().manual_seed((first + i * _STRIDE) % _WORD) for i in range(n)]
    if not isinstance(seed, Sequence) or not all(isinstance(item, torch.Generator) for item in seed):
        raise TypeError(f"expected a whole number, a torch.Generator or a list of them, got {type(seed).__name__}")
    if len(seed) != n:
        raise UsageError(f"expected one generator per item, {n}, got {len(seed)}")
    return list(seed)


def seeded(seeds: Sequence[int]) -> list[torch.Generator]:
    """One stream per seed; an item's stream depends on its own seed only, and different seeds have different streams.

    Parameters
    ----------
    seeds
        Whole numbers, not negative; those below 2^32 cannot collide.

    Returns
    -------
    list of torch.Generator
        As long as `seeds`.

    Raises
    ------
    UsageError
        If a seed is negative.
    """
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"a seed is a whole number of at least 0, got {min(seeds)}")
    return [torch.Generator().manual_seed((int(seed) * _STRIDE + 0x7F4A7C15) % _WORD) for seed in seeds]


def normal(
    shape: Sequence[int],
    streams: Sequence[torch.Generator],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal noise, item by item; complex noise has unit variance in total.

    Parameters
    ----------
    shape
        [batch, ...].
    streams
        One per item.
    dtype
        Real or complex floating point; half precision is drawn in float32 and rounded.
    device
        Where the result goes.

    Returns
    -------
    Tensor
        Of `shape`.

    Raises
    ------
    UsageError
        If there is not one stream per item.
    """
    if not shape or len(streams) != shape[0]:
        raise UsageError(f"expected one stream per item of a batch of shape {list(shape)}, got {len(streams)}")
    return normal_(torch.empty(tuple(shape), dtype=dtype, device=device), streams)


def normal_(out: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
    """Write standard normal noise over `out`, item by item, as `normal` draws it.

    Parameters
    ----------
    out
        [batch, ...], contiguous, real or complex floating point.
    streams
        One per item.

    Returns
    -------
    Tensor
        `out`.
    """
    wide = drawn_as(out.dtype)
    for item, g in zip(out.unbind(), streams, strict=True):
        if g.device == item.device and wide == item.dtype:
            item.normal_(generator=g)
        else:
            drawn = torch.randn(item.shape, generator=g, dtype=wide, device=g.device)
            pinned = drawn.pin_memory() if item.is_cuda and not drawn.is_cuda else drawn
            item.copy_(pinned, non_blocking=True)
    return out


def drawn_as(dtype: torch.dtype) -> torch.dtype:
    """What noise of a dtype is drawn in: half precision in float32, everything else in itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


class Noise(Protocol):
    """A kind of noise, before it is known for which run."""

    def on(self, path: Any, times: Any, amounts: Any, streams: Sequence[torch.Generator]) -> Fill:
        """The noise of a run over `times` [rows + 1] whose rows draw `amounts` [rows], one stream per item."""


@dataclass(frozen=True)
class Independent:
    """Fresh noise for each row."""

    def on(self, path: Any, times: Any, amounts: Any, streams: Sequence[torch.Generator]) -> Fill:
        """The noise of each row, drawn when it is asked."""
        return lambda out, i: normal_(out, streams)
