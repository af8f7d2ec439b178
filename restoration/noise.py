"""Noise by seed, sample, draw and absolute position alone: a crop of a picture gets the crop of its noise.

The plane is cut into squares of `SQUARE` pixels, each drawn from its own stream, so that neither tiles nor batches nor
their order can be seen in the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

SQUARE = 64
"""Pixels on a side that are drawn together; part of what a seed means."""


@dataclass(frozen=True)
class Positioned:
    """Noise tied to the plane; an object for ``sample(noise=...)``, whose streams it does not use.

    Parameters
    ----------
    seed
        Whole number, at least 0.
    sample
        Which of several samples of one picture.
    origin
        Row and column of the plane at which the picture's first pixel lies.

    Raises
    ------
    UsageError
        If a number is negative.
    """

    seed: int
    sample: int = 0
    origin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if min(self.seed, self.sample, *self.origin) < 0:
            raise UsageError(
                f"expected seed, sample and origin of at least 0, got {self.seed}, {self.sample}, {self.origin}"
            )

    def on(self, path: Any, times: Any, amounts: Any, streams: Sequence[torch.Generator]) -> rng.Fill:
        """The noise of each row of a table, see `fewstep.core.rng.Noise`."""
        return lambda out, i: self.fill(out, i + 1)

    def fill(self, out: Tensor, draw: int) -> Tensor:
        """Write standard normal noise over `out`.

        Parameters
        ----------
        out
            float [batch, channels, rows, columns]; every item of the batch gets the same noise.
        draw
            Which draw, at least 0; 0 is the prior's.

        Returns
        -------
        Tensor
            `out`.
        """
        (top, left), (rows, columns) = self.origin, out.shape[-2:]
        square = torch.empty(out.shape[1], SQUARE, SQUARE)
        for i, y, from_y in _squares(top, rows):
            for j, x, from_x in _squares(left, columns):
                square.normal_(generator=rng.generator(self.seed, self.sample, draw, i, j))
                out[..., y, x] = square[..., from_y, from_x].to(out)
        return out

    def prior(self, path: AffinePath, y: Tensor, *, t: float | None = None) -> Tensor:
        """Where sampling starts, (a + b) y + s eps, as `AffinePath.prior` says.

        Parameters
        ----------
        path
            The process.
        y
            Degraded end, float [batch, channels, rows, columns].
        t
            Time of the start; default `path.t_max`.

        Returns
        -------
        Tensor
            Shaped like `y`.
        """
        a, b, s = (float(c) for c in path.coefficients(path.t_max if t is None else t))
        return self.fill(torch.empty_like(y), 0).mul_(s).add_(y, alpha=a + b)


def _squares(first: int, length: int) -> Iterator[tuple[int, slice, slice]]:
    """Number of each square that [first, first + length) touches, its part of the picture, and the part of it."""
    for i in range(first // SQUARE, (first + length - 1) // SQUARE + 1):
        start, stop = max(first, i * SQUARE), min(first + length, (i + 1) * SQUARE)
        yield i, slice(start - first, stop - first), slice(start - i * SQUARE, stop - i * SQUARE)
