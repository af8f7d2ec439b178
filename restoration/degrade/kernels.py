"""Blur kernels: Gaussian, generalised and plateau (Liu et al. 2020), sinc, defocus disks, motion of a shaken camera.

Real-ESRGAN, Wang et al. 2021, arXiv:2107.10833, sections 3.2 and 3.4, for all but the last two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def bell(
    size: int,
    sigma: tuple[float, float],
    angle: float = 0.0,
    *,
    kind: str = "gaussian",
    beta: float = 1.0,
) -> Tensor:
    """A bell in two widths, turned.

    Parameters
    ----------
    size
        Rows and columns, odd.
    sigma
        Standard deviations along the two axes, in pixels.
    angle
        Of the first axis, in radians.
    kind
        ``"gaussian"``: exp(−d²/2); ``"generalized"``: exp(−(d²)^beta / 2); ``"plateau"``: 1 / (1 + (d²)^beta).
    beta
        Shape of the last two.

    Returns
    -------
    Tensor
        float32, [size, size], summing to 1.
    """
    ax = torch.arange(size, dtype=torch.float64) - size // 2
    rows, columns = torch.meshgrid(ax, ax, indexing="ij")
    along = columns * math.cos(angle) + rows * math.sin(angle)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    d2 = (along / sigma[0]) ** 2 + (across / sigma[1]) ** 2
    if kind == "plateau":
        return _unit(1 / (1 + d2**beta))
    return _unit(torch.exp(-0.5 * (d2 if kind == "gaussian" else d2**beta)))


def sinc(size: int, cutoff: float) -> Tensor:
    """The ideal circular low-pass, cut to a square: rings as sharpening does.

    Parameters
    ----------
    size
        Rows and columns, odd.
    cutoff
        In radians per pixel, up to pi.

    Returns
    -------
    Tensor
        float32, [size, size], summing to 1.
    """
    ax = torch.arange(size, dtype=torch.float64) - size // 2
    radius = torch.sqrt(ax[:, None] ** 2 + ax[None, :] ** 2)
    safe = radius.clamp(min=1e-9)
    disk = cutoff * torch.special.bessel_j1(cutoff * safe) / (2 * math.pi * safe)
    return _unit(torch.where(radius == 0, torch.full_like(disk, cutoff**2 / (4 * math.pi)), disk))


def disk(radius: float, *, size: int = 25, finer: int = 5) -> Tensor:
    """Defocus: a disk with soft edges.

    Parameters
    ----------
    radius
        In pixels.
    size
        Rows and columns, odd.
    finer
        Samples per pixel and axis.

    Returns
    -------
    Tensor
        float32, [size, size], summing to 1.
    """
    ax = (torch.arange(size * finer, dtype=torch.float64) + 0.5) / finer - size / 2
    inside = (ax[:, None] ** 2 + ax[None, :] ** 2 <= max(radius, 0.5) ** 2).double()
    return _unit(functional.avg_pool2d(inside[None, None], finer)[0, 0])


def motion(generator: torch.Generator, *, size: int = 25, length: float | None = None) -> Tensor:
    """The trace of a shaken camera: a random walk with inertia, drawn with bilinear weights and centred.

    Parameters
    ----------
    generator
        On the CPU.
    size
        Rows and columns, odd.
    length
        Of the trace in pixels; default: drawn between 8 and 1.6 `size`.

    Returns
    -------
    Tensor
        float32, [size, size], summing to 1.
    """
    draw = torch.rand(3, generator=generator, dtype=torch.float64)
    total = 8 + (1.6 * size - 8) * float(draw[0]) if length is None else length
    n = 240
    shake = 0.02 + 0.25 * float(draw[1]) ** 2
    turn = torch.randn(n, generator=generator, dtype=torch.float64) * shake
    jumps = torch.rand(n, generator=generator, dtype=torch.float64) < 0.012
    turn = turn + jumps * torch.randn(n, generator=generator, dtype=torch.float64) * 1.5
    angle = 2 * math.pi * draw[2] + torch.cumsum(turn, 0)
    speed = 0.3 + torch.rand(n, generator=generator, dtype=torch.float64)
    speed = functional.avg_pool1d(speed[None], 21, stride=1, padding=10, count_include_pad=False)[0]
    steps = torch.stack([angle.sin(), angle.cos()]) * speed * (total / float(speed.sum()))
    trace = torch.cumsum(steps, 1)
    trace = trace - trace.mean(1, keepdim=True)
    reach = float(trace.abs().max())
    trace = trace * min(1.0, (size // 2 - 1) / max(reach, 1e-9)) + size // 2
    kernel = torch.zeros(size * size, dtype=torch.float64)
    low = trace.floor().long()
    part = trace - low
    for row in (0, 1):
        for column in (0, 1):
            weight = (part[0] if row else 1 - part[0]) * (part[1] if column else 1 - part[1])
            kernel.index_add_(0, (low[0] + row) * size + low[1] + column, weight)
    return _unit(kernel.reshape(size, size))


def blurred(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel, mirrored at the borders.

    Parameters
    ----------
    x
        [channels, rows, columns].
    kernel
        [size, size], odd.

    Returns
    -------
    Tensor
        Shaped like `x`.
    """
    radius = kernel.shape[-1] // 2
    mode = "reflect" if radius < min(x.shape[-2:]) else "replicate"
    padded = functional.pad(x[None], (radius,) * 4, mode=mode)[0]
    weight = kernel.flip(0, 1).to(x.dtype)[None, None]
    return functional.conv2d(padded[:, None], weight)[:, 0]


def _unit(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).float()
