"""Trajectory stitching: one denoiser at high noise, another at low noise (Pan et al. 2024, arXiv:2402.14167, T-Stitch).

A small net does the first part of the way, where all nets agree, and the large one the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from fewstep.core import nfe
from fewstep.core.errors import UsageError
from fewstep.core.types import Denoise


@dataclass(frozen=True)
class Stitched:
    """Denoisers by time; `sample` picks them before it starts, so that no time is read back from a device."""

    parts: tuple[tuple[float, Denoise], ...]

    def pick(self, t: float) -> Denoise:
        """The denoiser that is asked at time `t`."""
        return next((denoise for until, denoise in self.parts if t > until), self.parts[-1][1])

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """``denoise(x, t)`` for one time, which is read back from its device."""
        return nfe.call(self.pick(float(t)), x, t)


def stitch(parts: Sequence[tuple[float, Denoise]]) -> Stitched:
    """Switch denoisers at given times.

    Parameters
    ----------
    parts
        (until, denoise), from the prior to the data: each is asked at times above its `until`, the last at all others.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``.

    Raises
    ------
    UsageError
        If there is no part, or the times do not fall.

    References
    ----------
    Pan et al. 2024, arXiv:2402.14167.
    """
    times = [until for until, _ in parts]
    if not times or any(not later < earlier for earlier, later in pairwise(times)):
        raise UsageError(f"expected (until, denoise) with falling times, got {times}")
    return Stitched(tuple(parts))
