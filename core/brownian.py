"""Noise that does not depend on the number of steps: increments of one Brownian motion per item, in lam.

Lévy's construction: on [0, 1], with the tent T on [0, 1] of height 1 and independent normal Z,

    W(x) = x Z_0 + sum_{l, k} 2^{−l/2 − 1} T(2^l x − k) Z_{l, k}

Z_{l, k} is drawn from a generator seeded by (item, l, k), so that W can be asked anywhere, in any order, without being
stored; an increment touches two k per level (the virtual Brownian tree of Li et al. 2020, arXiv:2001.01328, as a sum).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Brownian:
    """Increments of a motion over lam, scaled to unit variance; one motion per item, which its stream chooses.

    Parameters
    ----------
    levels
        lam is resolved to 2^−levels of the span.
    span
        First and last lam; what lies beyond counts as the end.

    Raises
    ------
    UsageError
        If there is no level, or the span is empty.
    """

    levels: int = 18
    span: tuple[float, float] = (-16.0, 16.0)

    def __post_init__(self) -> None:
        if not (1 <= self.levels <= 40 and self.span[0] < self.span[1]):
            raise UsageError(f"expected 1 to 40 levels of a span (low, high) of lam, got {self.levels} of {self.span}")

    def on(self, path: AffinePath, times: Any, amounts: Any, streams: Sequence[torch.Generator]) -> rng.Fill:
        """The noise of each row.

        Parameters
        ----------
        path
            Gives lam.
        times
            Of the states, [rows + 1].
        amounts
            How much noise each row draws, [rows].
        streams
            One per item; one number is drawn from each.

        Returns
        -------
        callable
            ``fill(out, i)``.

        Raises
        ------
        UsageError
            If rows that draw noise do not follow each other towards the data.
        """
        lam = path.lam(torch.tensor(times, dtype=torch.float64)).numpy()
        low, high = self.span
        ticks = np.rint((np.clip(lam, low, high) - low) / (high - low) * 2**self.levels).astype(int).tolist()
        reached = -1
        for i in np.flatnonzero(amounts):
            if not max(reached, ticks[i]) < ticks[i + 1] or ticks[i] < reached:
                raise UsageError(
                    "Brownian noise needs steps that follow each other towards the data within lam "
                    f"{low} to {high}; row {i} goes from lam {lam[i]:.4g} to {lam[i + 1]:.4g}"
                )
            reached = ticks[i + 1]
        keys = [int(torch.randint(1 << 62, (), generator=g, device=g.device)) for g in streams]
        return lambda out, i: self._fill(out, ticks[i], ticks[i + 1], keys)

    def _fill(self, out: Tensor, start: int, stop: int, keys: Sequence[int]) -> Tensor:
        wide = rng.drawn_as(out.dtype)
        z, total = (torch.empty(out.shape[1:], dtype=wide) for _ in range(2))
        nodes, generator = list(self._nodes(start, stop)), torch.Generator()
        for item, key in zip(out.unbind(), keys, strict=True):
            total.zero_()
            for level, k, weight in nodes:
                generator.manual_seed(_hashed(key, level, k))
                total.add_(z.normal_(generator=generator), alpha=weight)
            item.copy_(total.pin_memory() if out.is_cuda else total, non_blocking=True)
        return out

    def _nodes(self, start: int, stop: int) -> Iterator[tuple[int, int, float]]:
        """(level, k, weight) of the increment from one tick to another, of unit variance."""
        scale = 1 / math.sqrt((stop - start) / 2**self.levels)
        yield -1, 0, (stop - start) / 2**self.levels * scale
        for level in range(self.levels):
            width = 1 << (self.levels - level)
            for k in sorted({start // width, stop // width}):
                weight = _tent(stop / width - k) - _tent(start / width - k)
                if weight:
                    yield level, k, scale * weight * 2 ** (-level / 2 - 1)


def noise_source(
    noise: str | rng.Noise, path: AffinePath, times: Any, amounts: Any, streams: Sequence[torch.Generator]
) -> rng.Fill:
    """What `sample(noise=...)` means.

    Parameters
    ----------
    noise
        ``"independent"``, ``"brownian"``, or an object with `on`.
    path, times, amounts, streams
        See `Brownian.on`.

    Returns
    -------
    callable
        ``fill(out, i)``.

    Raises
    ------
    UsageError
        If `noise` is something else.
    """
    if isinstance(noise, str):
        known: dict[str, rng.Noise] = {"independent": rng.Independent(), "brownian": Brownian()}
        if noise not in known:
            raise UsageError(f"expected noise out of {', '.join(known)} or an object with `on`, got {noise!r}")
        noise = known[noise]
    return noise.on(path, times, amounts, streams)


def _tent(z: float) -> float:
    return max(0.0, 1 - abs(2 * z - 1))


def _hashed(key: int, level: int, k: int) -> int:
    """32 bits of (key, level, k), mixed as in splitmix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195)."""
    word = key
    for number in (level + 2, k + 1):
        word = (word + number * 0x9E3779B97F4A7C15) & _MASK
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
        word ^= word >> 31
    return word >> 32
