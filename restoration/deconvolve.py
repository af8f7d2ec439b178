"""Take a known blur out: the denoiser and the measurement in turn (plug and play by half-quadratic splitting).

    x <- argmin_z |M (k * z) − y|² / (2 sigma²) + |z − x0|² / (2 w r²),     x0 = denoise(x),     r falling

M keeps the picture's own pixels: what lies beyond its border is unknown and is found with the rest, so that no ringing
comes in from there. Each call of the net is followed by one such step, by conjugate gradients, each colour on its own;
the first step has the blurred picture for x0. Zhang et al. 2021, arXiv:2008.13751, equations 6 to 9, whose lambda is
1/w.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.core.operators import Diagonal, conjugate_gradient
from fewstep.core.operators.fourier import blur

STEPS = 3

START, FIRST, LAST = 72 / 127.5, 30 / 127.5, 10 / 127.5
"""r of the first step, of that after the first call, and of that after the last, in units of [-1, 1]."""

TRUST, ITERATIONS = 1 / 8, 30
"""w, and how many steps of conjugate gradients. All five numbers were chosen on crops of four pictures under random
walks, with noise of 1, 2.55 and 7.65 levels."""

LEAST_NOISE = 0.5 / 127.5
"""Rounding alone makes more than half of this."""

LARGEST = 255


def deconvolved(
    denoise: Callable[[Tensor], Tensor],
    y: Tensor,
    kernel: Tensor,
    *,
    noise: float | None = None,
    steps: int = STEPS,
    multiple: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """The picture that was blurred.

    Parameters
    ----------
    denoise
        ``denoise(x) -> x0_hat``, both [batch, 3, rows, columns] in [-1, 1], whatever the size of the noise.
    y
        What was seen, likewise.
    kernel
        Odd sides, as `kernel_of` gives it, [k, l].
    noise
        Standard deviation of the noise in `y`, in its unit; None: `noise_of`.
    steps
        Calls of `denoise`.
    multiple
        Of the sides that `denoise` takes.
    progress
        Told the part that is done.

    Returns
    -------
    Tensor
        Shaped like `y`, in [-1, 1].

    Raises
    ------
    UsageError
        If the kernel is larger than the picture.
    """
    rows, columns = y.shape[-2:]
    if kernel.shape[0] > rows or kernel.shape[1] > columns:
        raise UsageError(
            f"the kernel has {kernel.shape[1]} x {kernel.shape[0]} pixels, the picture fewer: {columns} x {rows}"
        )
    sigma = max(noise_of(y) if noise is None else noise, LEAST_NOISE)
    around = max(kernel.shape)
    x = _surrounded(y, around, multiple)
    own = (slice(around, around + rows), slice(around, around + columns))
    seen = torch.zeros_like(x)
    seen[..., own[0], own[1]] = y
    mask = seen.new_zeros(seen.shape[-2:])
    mask[own] = 1
    A = Diagonal(mask, mask.shape) @ blur(kernel.to(y), mask.shape)
    normal = A.N

    def agreeing(x0: Tensor, r: float) -> Tensor:
        damping, out = sigma**2 / (TRUST * r**2), torch.empty_like(x0)
        for n in range(len(x0)):
            for colour in range(x0.shape[1]):
                one = x0[n, colour][None]
                missing = A.H.apply(seen[n, colour][None] - A(one))
                out[n, colour] = (
                    one[0] + conjugate_gradient(normal, missing, iterations=ITERATIONS, damping=damping).x[0]
                )
        return out

    x = agreeing(x, START)
    share = torch.linspace(0, 1, steps).tolist() if steps > 1 else [0.5]
    for number, part in enumerate(share, start=1):
        x = agreeing(denoise(x), FIRST * (LAST / FIRST) ** part)
        if progress is not None:
            progress(number / steps)
    return x[..., own[0], own[1]].clamp(-1, 1)


def noise_of(y: Tensor) -> float:
    """Standard deviation of white noise in pictures, from the finest diagonal differences.

    Their median, then what lies within three of it, again and again: large differences are edges. Blurred pictures have
    little but noise there; sharp ones have more, and seem noisier than they are.

    Parameters
    ----------
    y
        [..., rows, columns].

    Returns
    -------
    float
        In the unit of `y`; 0 for fewer than 2 x 2 pixels.

    References
    ----------
    Donoho & Johnstone 1994, doi:10.1093/biomet/81.3.425, section 4 (the median).
    """
    a, b = y[..., :-1:2, :-1:2], y[..., :-1:2, 1::2]
    c, d = y[..., 1::2, :-1:2], y[..., 1::2, 1::2]
    detail = (a - b - c + d).abs() / 2
    if not detail.numel():
        return 0.0
    sigma = detail.median() / 0.6745  # of whole levels: coarse
    for _ in range(4):
        within = detail[detail <= 3 * sigma]
        sigma = within.square().mean().sqrt() / 0.9866  # which is what the middle of a bell has left
    return float(sigma)


def kernel_of(kernel: Tensor) -> Tensor:
    """A blur kernel made ready.

    Parameters
    ----------
    kernel
        How the picture of a point looks, not negative, [rows, columns]; its middle, at n//2, stays where it is.

    Returns
    -------
    Tensor
        float32 with odd sides, summing to 1.

    Raises
    ------
    UsageError
        If it is none.
    """
    if kernel.ndim != 2 or not 1 <= min(kernel.shape) <= max(kernel.shape) <= LARGEST:
        raise UsageError(f"expected a kernel of 1 x 1 to {LARGEST} x {LARGEST} numbers, got shape {list(kernel.shape)}")
    kernel = kernel.double()
    if not bool(torch.isfinite(kernel).all()) or float(kernel.min()) < 0 or not float(kernel.sum()) > 0:
        raise UsageError("expected a kernel of finite numbers, none negative and not all zero")
    kernel = functional.pad(kernel, (0, 1 - kernel.shape[1] % 2, 0, 1 - kernel.shape[0] % 2))
    return (kernel / kernel.sum()).float()


def _surrounded(y: Tensor, around: int, multiple: int) -> Tensor:
    """Mirrored beyond each border by `around`, and at the end up to sides that Fourier transforms take quickly."""
    sides = []
    for n in (y.shape[-1], y.shape[-2]):
        size = -(-(n + 2 * around) // multiple) * multiple
        while not _quick(size):
            size += multiple
        sides += [around, size - n - around]
    mode = "reflect" if max(sides) < min(y.shape[-2:]) else "replicate"
    return functional.pad(y, sides, mode=mode)


def _quick(n: int) -> bool:
    for factor in (2, 3, 5, 7):
        while n % factor == 0:
            n //= factor
    return n == 1
