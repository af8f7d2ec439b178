"""The second-order degradation of Real-ESRGAN: blur, resize, noise and JPEG, twice, with ringing at the end.

Wang et al. 2021, arXiv:2107.10833, section 3; numbers of the published configs. `second` is how often the second order
is applied at all: 1 there, 0.5 in ResShift (arXiv:2307.12348).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fewstep.restoration.degrade import kernels
from fewstep.restoration.degrade.imresize import imresize, quantized
from fewstep.restoration.degrade.jpeg import jpeg
from fewstep.restoration.degrade.noise import gaussian, poisson, uniform

KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
SHARES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)


@dataclass(frozen=True)
class Order:
    """Ranges of one pass."""

    sigma: tuple[float, float]
    resize: tuple[float, float]
    up_down_keep: tuple[float, float, float]
    noise: tuple[float, float]
    poisson: tuple[float, float]
    blur: float = 1.0


FIRST = Order((0.2, 3.0), (0.15, 1.5), (0.2, 0.7, 0.1), (1, 30), (0.05, 3))
SECOND = Order((0.2, 1.5), (0.3, 1.2), (0.3, 0.4, 0.3), (1, 25), (0.05, 2.5), blur=0.8)


def realesrgan(
    x: Tensor,
    generator: torch.Generator,
    *,
    scale: int = 4,
    second: float = 1.0,
    quality: tuple[float, float] = (30, 95),
) -> Tensor:
    """Degrade.

    Parameters
    ----------
    x
        [3, rows, columns] in [-1, 1].
    generator
        On the CPU.
    scale
        The result is smaller by this.
    second
        Probability of the second order.
    quality
        Range of the JPEG quality of both.

    Returns
    -------
    Tensor
        [3, rows / scale, columns / scale], on 256 levels.
    """
    size = (max(1, x.shape[1] // scale), max(1, x.shape[2] // scale))
    out = _noisy(_resized(kernels.blurred(x, _kernel(FIRST, generator)), FIRST, generator), FIRST, generator)
    out = jpeg(out.clamp(-1, 1), generator, quality=quality)
    if _chance(generator) < second:
        if _chance(generator) < SECOND.blur:
            out = kernels.blurred(out, _kernel(SECOND, generator))
        out = _noisy(_resized(out, SECOND, generator, base=(size[0], size[1])), SECOND, generator)
    ring = _chance(generator) < 0.8
    late = kernels.sinc(_odd(generator), uniform((math.pi / 3, math.pi), generator))
    if _chance(generator) < 0.5:
        out = _to(out, size, generator)
        out = kernels.blurred(out, late) if ring else out
        return jpeg(out.clamp(-1, 1), generator, quality=quality)
    out = jpeg(out.clamp(-1, 1), generator, quality=quality)
    out = _to(out, size, generator)
    return quantized(kernels.blurred(out, late) if ring else out)


def _kernel(order: Order, generator: torch.Generator) -> Tensor:
    size = _odd(generator)
    if _chance(generator) < 0.1:
        lowest = math.pi / 3 if size < 13 else math.pi / 5
        return kernels.sinc(size, uniform((lowest, math.pi), generator))
    kind = KINDS[int(torch.multinomial(torch.tensor(SHARES), 1, generator=generator))]
    first, other = uniform(order.sigma, generator), uniform(order.sigma, generator)
    sigma = (first, first if kind.endswith("_iso") or kind == "iso" else other)
    angle = uniform((-math.pi, math.pi), generator)
    shape = kind.split("_")[0]
    if shape in ("iso", "aniso"):
        return kernels.bell(size, sigma, angle)
    beta = uniform((0.5, 4) if shape == "generalized" else (1, 2), generator)
    return kernels.bell(size, sigma, angle, kind=shape, beta=beta)


def _resized(x: Tensor, order: Order, generator: torch.Generator, *, base: tuple[int, int] | None = None) -> Tensor:
    what = int(torch.multinomial(torch.tensor(order.up_down_keep), 1, generator=generator))
    low, high = order.resize
    factor = (uniform((1, high), generator), uniform((low, 1), generator), 1.0)[what]
    rows, columns = base or (x.shape[1], x.shape[2])
    return _to(x, (max(1, round(rows * factor)), max(1, round(columns * factor))), generator)


def _to(x: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    mode = ("area", "bilinear", "bicubic")[int(torch.randint(3, (), generator=generator))]
    if mode == "bicubic":
        return imresize(x, size=size)
    options = {} if mode == "area" else {"align_corners": False}
    return functional.interpolate(x[None], size=size, mode=mode, **options)[0]


def _noisy(x: Tensor, order: Order, generator: torch.Generator) -> Tensor:
    if _chance(generator) < 0.5:
        return gaussian(x, generator, sigma=order.noise, gray=0.4).clamp(-1, 1)
    return poisson(x, generator, scale=order.poisson, gray=0.4).clamp(-1, 1)


def _odd(generator: torch.Generator) -> int:
    return 7 + 2 * int(torch.randint(8, (), generator=generator))


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
