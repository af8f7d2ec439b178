"""JPEG by Pillow's encoder: what cameras and the web do to pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fewstep.restoration.degrade.noise import uniform


def jpeg(x: Tensor, generator: torch.Generator, *, quality: float | Sequence[float] = 40) -> Tensor:
    """Encode and decode.

    Parameters
    ----------
    x
        [3, rows, columns] in [-1, 1].
    generator
        On the CPU.
    quality
        1 to 100, or its range.

    Returns
    -------
    Tensor
        Shaped like `x`, on 256 levels.
    """
    from PIL import Image

    levels = ((x + 1) * 127.5 + 0.5).floor().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=round(uniform(quality, generator)))
    with Image.open(buffer) as decoded:
        pixels = np.asarray(decoded.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1).to(x.dtype)
