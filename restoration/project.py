"""Agreement of an enlarged picture with its input, x <- clip(x + up(lq − down(x))), and padding to whole multiples.

Back-projection: Irani & Peleg 1991, doi:10.1016/1049-9652(91)90045-L, with MATLAB's bicubic both ways.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fewstep.restoration.degrade.imresize import imresize

ROUNDS, RELAXED = 8, 1.4
"""Of back-projection, and how far all of its rounds but the last go beyond: clipping slows it down."""


def back_projected(x: Tensor, lq: Tensor, scale: int, *, rounds: int = ROUNDS) -> Tensor:
    """Move a picture to one that becomes `lq` when MATLAB's bicubic shrinks it.

    Parameters
    ----------
    x
        [..., scale * rows, scale * columns] in [-1, 1].
    lq
        [..., rows, columns].
    scale
        Whole number.
    rounds
        How often.

    Returns
    -------
    Tensor
        Shaped like `x`, in [-1, 1].
    """
    small = (lq.shape[-2], lq.shape[-1])
    for i in range(rounds):
        step = imresize(lq - imresize(x, size=small), scale)
        x = step.mul_(RELAXED if i < rounds - 1 else 1).add_(x).clamp_(-1, 1)
    return x


def padded(x: Tensor, multiple: int) -> Tensor:
    """Rows and columns continued below and at the right to multiples: mirrored, or repeated where there are too few.

    Parameters
    ----------
    x
        [batch, channels, rows, columns].
    multiple
        Of both sides.

    Returns
    -------
    Tensor
    """
    for axis in (-1, -2):
        lack = -x.shape[axis] % multiple
        if lack:
            sides = (0, lack, 0, 0) if axis == -1 else (0, 0, 0, lack)
            x = functional.pad(x, sides, mode="reflect" if lack < x.shape[axis] else "replicate")
    return x
