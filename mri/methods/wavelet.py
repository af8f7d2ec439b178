"""L1-wavelet reconstruction: argmin |A x − y|²/2 + weight |W x|_1 by FISTA, W an orthonormal periodic wavelet.

Lustig et al. 2007, doi:10.1002/mrm.21391; FISTA: Beck & Teboulle 2009, doi:10.1137/080716542. The wavelet's grid
is moved at random in every iteration (cycle spinning: Coifman & Donoho 1995, doi:10.1007/978-1-4612-2544-7_9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.mri.methods.base import Method
from fewstep.mri.problem import Slice


@dataclass(frozen=True)
class L1Wavelet(Method):
    """FISTA with a soft threshold of wavelet coefficients.

    Parameters
    ----------
    weight
        Threshold, in units of the slice (its 99.5th percentile is 0.92).
    iterations
        Of FISTA.
    wavelet
        A name that PyWavelets knows, of an orthogonal wavelet.
    levels
        Of the transform.

    Raises
    ------
    UsageError
        If the weight is negative or there is no iteration or level.
    """

    weight: float = 4e-3
    iterations: int = 60
    wavelet: str = "db4"
    levels: int = 4

    def __post_init__(self) -> None:
        if self.weight < 0 or self.iterations < 1 or self.levels < 1:
            raise UsageError(
                f"expected weight >= 0 and at least one iteration and level, got {self.weight}, {self.iterations}, "
                f"{self.levels}"
            )

    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """[1, y, x]."""
        A = one.problem.A
        normal, back = A.N, A.H(one.problem.kspace)
        generator = rng.generator(seed, 7)
        x, z, t = one.sense, one.sense, 1.0
        for _ in range(self.iterations):
            shifts = torch.randint(2**self.levels, (2,), generator=generator).tolist()
            moved = torch.roll(z + back - normal.apply(z), shifts, (-2, -1))
            small = shrunk(moved, self.weight, wavelet=self.wavelet, levels=self.levels)
            new = torch.roll(small, [-s for s in shifts], (-2, -1))
            after = (1 + math.sqrt(1 + 4 * t * t)) / 2
            z = new + ((t - 1) / after) * (new - x)
            x, t = new, after
        return x, 0


def shrunk(x: Tensor, threshold: float, *, wavelet: str, levels: int) -> Tensor:
    """Soft threshold of the detail coefficients of a periodic orthonormal wavelet transform.

    Parameters
    ----------
    x
        Complex, [batch, y, x].
    threshold
        What their magnitude is reduced by.
    wavelet, levels
        As for `L1Wavelet`; the image is extended by zeros to a multiple of 2**levels.

    Returns
    -------
    Tensor
        As `x`.
    """
    height, width = x.shape[-2:]
    cell = 2**levels
    parts = torch.view_as_real(x).movedim(-1, 1)
    parts = functional.pad(parts, (0, -width % cell, 0, -height % cell))
    low, details = analysed(parts, wavelet, levels)
    kept = []
    for detail in details:
        size = torch.linalg.vector_norm(detail, dim=1, keepdim=True)  # of the complex coefficient
        kept.append(detail * (1 - threshold / size.clamp(min=threshold)) if threshold > 0 else detail)
    parts = synthesised(low, kept, wavelet)[..., :height, :width]
    return torch.view_as_complex(parts.movedim(1, -1).contiguous())


def analysed(x: Tensor, wavelet: str, levels: int) -> tuple[Tensor, list[Tensor]]:
    """Real [batch, c, y, x] -> low pass, and per level the three details, [batch, c, 3, y/2, x/2], finest first."""
    bank = _bank(wavelet).to(x)
    details = []
    for _ in range(levels):
        bands = _split(x, bank)
        x, detail = bands[:, :, 0], bands[:, :, 1:]
        details.append(detail)
    return x, details


def synthesised(low: Tensor, details: list[Tensor], wavelet: str) -> Tensor:
    """The inverse, and adjoint, of `analysed`."""
    bank = _bank(wavelet).to(low)
    for detail in reversed(details):
        low = _join(torch.cat([low.unsqueeze(2), detail], 2), bank)
    return low


@lru_cache(maxsize=8)
def _bank(wavelet: str) -> Tensor:
    """Low and high pass, [2, taps]."""
    import pywt

    try:
        filters = pywt.Wavelet(wavelet)
    except ValueError:
        raise UsageError(f"expected a wavelet of PyWavelets such as 'db4', got {wavelet!r}") from None
    if not filters.orthogonal:
        raise UsageError(f"expected an orthogonal wavelet such as 'db4', got {wavelet!r}")
    return torch.tensor([filters.dec_lo, filters.dec_hi], dtype=torch.float64)


def _split(x: Tensor, bank: Tensor) -> Tensor:
    """[b, c, y, x] -> [b, c, 4, y/2, x/2]."""
    batch, channels, height, width = x.shape
    taps = bank.shape[1]
    flat = x.reshape(-1, 1, height, width)
    flat = functional.pad(flat, (0, taps - 2, 0, taps - 2), mode="circular") if taps - 2 <= min(height, width) else (
        _wrap(flat, taps - 2)
    )  # fmt: skip
    rows = functional.conv2d(flat, bank[:, None, :, None], stride=(2, 1))
    both = functional.conv2d(rows.reshape(-1, 1, *rows.shape[-2:]), bank[:, None, None, :], stride=(1, 2))
    return both.reshape(batch, channels, 4, height // 2, width // 2)


def _join(bands: Tensor, bank: Tensor) -> Tensor:
    """[b, c, 4, y, x] -> [b, c, 2 y, 2 x], the adjoint of `_split`."""
    batch, channels, _, height, width = bands.shape
    rows = functional.conv_transpose2d(bands.reshape(-1, 2, height, width), bank[:, None, None, :], stride=(1, 2))
    rows = _fold(rows, -1, 2 * width)
    both = functional.conv_transpose2d(rows.reshape(-1, 2, height, 2 * width), bank[:, None, :, None], stride=(2, 1))
    return _fold(both, -2, 2 * height).reshape(batch, channels, 2 * height, 2 * width)


def _fold(x: Tensor, axis: int, n: int) -> Tensor:
    """Add what lies past the end to the beginning: the adjoint of circular padding."""
    out = x.narrow(axis, 0, n).clone()
    start = n
    while start < x.shape[axis]:
        size = min(n, x.shape[axis] - start)
        out.narrow(axis, 0, size).add_(x.narrow(axis, start, size))
        start += size
    return out


def _wrap(x: Tensor, extra: int) -> Tensor:
    """Circular padding at the end by more than the image has."""
    height, width = x.shape[-2:]
    rows, columns = torch.arange(height + extra) % height, torch.arange(width + extra) % width
    return x[..., rows[:, None], columns]
