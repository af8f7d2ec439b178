"""What each task starts from: bicubic for super-resolution, the picture itself, or the hole filled from its border.

The fill is pull-push on a pyramid of averages of the known pixels (Gortler et al. 1996, doi:10.1145/237170.237200,
section 3.4): coarse where the hole is wide, and a local function of the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.restoration.degrade.imresize import imresize

TASKS = ("sr", "denoise", "deblur", "inpaint", "jpeg")

LEVELS = 6
"""Of the pyramid; a tile must start at a multiple of 2^LEVELS pixels."""


def base(task: str, scale: int, lq: Tensor, mask: Tensor | None) -> Tensor:
    """The picture that a net corrects.

    Parameters
    ----------
    task
        One of `TASKS`.
    scale
        Canvas pixels per input pixel.
    lq
        Float, [batch, 3, rows, columns] in [-1, 1].
    mask
        1 where pixels are unknown, [batch, 1, rows, columns]; for ``"inpaint"`` only.

    Returns
    -------
    Tensor
        [batch, 3, scale * rows, scale * columns].

    Raises
    ------
    UsageError
        If the task is to fill a hole and there is no mask of the picture's size.
    """
    if task == "inpaint":
        if mask is None or mask.shape[-2:] != lq.shape[-2:]:
            got = "none" if mask is None else list(mask.shape[-2:])
            raise UsageError(f"inpainting needs a mask of the picture's size {list(lq.shape[-2:])}, got {got}")
        return fill(lq, mask)
    return lq if scale == 1 else imresize(lq, scale)


def fill(lq: Tensor, mask: Tensor, *, levels: int = LEVELS) -> Tensor:
    """Replace the unknown pixels by averages of the known ones near them.

    Parameters
    ----------
    lq
        [batch, channels, rows, columns].
    mask
        1 where unknown, [batch, 1, rows, columns].
    levels
        Halvings; a hole wider than 2^levels pixels keeps 0 in its middle.

    Returns
    -------
    Tensor
        Shaped like `lq`; known pixels as they are.
    """
    known = 1 - mask.to(lq.dtype)
    rows, columns = lq.shape[-2:]
    step = 2**levels
    pad = (0, -columns % step, 0, -rows % step)
    weight = functional.pad(known, pad)
    value = functional.pad(lq * known, pad)
    values, weights = [value], [weight]
    for _ in range(levels):
        value, weight = functional.avg_pool2d(value, 2), functional.avg_pool2d(weight, 2)
        norm = weight.clamp(max=0.25) / weight.clamp(min=1e-6)  # the weight saturates: a quarter is as good as all
        value, weight = 4 * value * norm, 4 * weight * norm
        values.append(value)
        weights.append(weight)
    full = values[-1] / weights[-1].clamp(min=1e-6)
    for value, weight in zip(values[-2::-1], weights[-2::-1], strict=True):
        up = functional.interpolate(full, scale_factor=2, mode="bilinear", align_corners=False)
        full = value + (1 - weight) * up
    return torch.where(mask.expand_as(lq) > 0.5, full[..., :rows, :columns], lq)


def fill_margin(levels: int = LEVELS) -> int:
    """How far away a pixel can be and still matter to `fill`, in pixels."""
    return 3 * 2**levels
