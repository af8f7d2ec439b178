"""MATLAB's bicubic `imresize`: the cubic with a = −1/2, widened against aliasing where it shrinks, mirrored borders.

    out(i) = sum_k h(u_i − k) x(k) / sum_k h(u_i − k),   u_i = (i + 1/2)/scale − 1/2,   h(d) = f(s d), s = min(scale, 1)

f is the cubic convolution kernel of Keys 1981, doi:10.1109/TASSP.1981.1163711, eq. 15.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from fewstep.core.errors import UsageError


def imresize(x: Tensor, scale: float | Fraction | None = None, *, size: tuple[int, int] | None = None) -> Tensor:
    """Resize rows and columns.

    Parameters
    ----------
    x
        [..., rows, columns], floating point, any range.
    scale
        Factor of both sides; the result has ``ceil(scale * side)`` pixels.
    size
        Rows and columns of the result instead of `scale`.

    Returns
    -------
    Tensor
        In `x`'s dtype, not rounded and not clamped: bicubic overshoots.

    Raises
    ------
    UsageError
        If not exactly one of `scale` and `size` is given and positive, or `x` is empty or not floating point.
    """
    if (scale is None) == (size is None) or (scale is not None and not scale > 0) or (size and min(size) < 1):
        raise UsageError(f"expected a positive scale or a positive size, got {scale=}, {size=}")
    if x.ndim < 2 or 0 in x.shape[-2:] or not x.is_floating_point():
        raise UsageError(f"expected [..., rows, columns] of floating point, got {list(x.shape)} of {x.dtype}")
    for axis in (-2, -1):
        n = x.shape[axis]
        n_out = size[axis + 2] if size is not None else math.ceil(n * Fraction(scale).limit_denominator(10_000))  # type: ignore[arg-type]
        factor = n_out / n if scale is None else float(scale)
        x = _along(x, axis, n_out, factor)
    return x


def quantized(x: Tensor) -> Tensor:
    """[-1, 1] rounded to the 256 levels of an 8-bit picture, half away from zero as MATLAB and cameras do.

    Parameters
    ----------
    x
        Any shape, in [-1, 1]; values outside are clamped.

    Returns
    -------
    Tensor
        Shaped like `x`.
    """
    return ((x + 1) * 127.5 + 0.5).floor().clamp(0, 255) / 127.5 - 1


def _along(x: Tensor, axis: int, n_out: int, scale: float) -> Tensor:
    index, weight = taps(x.shape[axis], n_out, scale)
    index, weight = index.to(x.device), weight.to(x.device, x.dtype)
    shape = (-1, 1) if axis == -2 else (-1,)
    out = None
    for k in range(index.shape[1]):
        part = x.index_select(axis, index[:, k]) * weight[:, k].reshape(shape)
        out = part if out is None else out.add_(part)
    return out if out is not None else x


@lru_cache(maxsize=64)
def taps(n: int, n_out: int, scale: float) -> tuple[Tensor, Tensor]:
    """Which pixels make an output pixel, and how much of each.

    Parameters
    ----------
    n, n_out
        Pixels before and after.
    scale
        n_out / n, up to rounding of `n_out`.

    Returns
    -------
    index : Tensor
        int64, [n_out, taps], mirrored into 0..n−1.
    weight : Tensor
        float64, [n_out, taps], each row summing to 1.
    """
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = (torch.arange(n_out, dtype=torch.float64) + 0.5) / scale - 0.5
    first = torch.floor(centre - width / 2)
    index = first[:, None].long() + torch.arange(math.ceil(width) + 2)
    weight = _cubic(shrink * (centre[:, None] - index))
    weight = weight / weight.sum(1, keepdim=True)
    used = (weight != 0).any(0)
    index = index[:, used] % (2 * n)
    return torch.where(index < n, index, 2 * n - 1 - index), weight[:, used]


def _cubic(d: Tensor) -> Tensor:
    d = d.abs()
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return torch.where(d <= 1, near, torch.where(d <= 2, far, torch.zeros_like(d)))
