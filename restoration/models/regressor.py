"""One call, the mean: x0_hat = base(lq, mask) + unfold(body(fold(lq), mask, vector)).

It is the answer of `mode="mean"`, and what the few-step denoiser of the same checkpoint corrects.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.restoration.models.base import LEVELS, TASKS, base, fill_margin
from fewstep.restoration.models.body import Body


class Regressor(nn.Module):
    """``net(lq, mask, told) -> x0_hat``.

    Parameters
    ----------
    task
        One of `fewstep.restoration.models.base.TASKS`.
    scale
        Canvas pixels per input pixel.
    fold
        Canvas pixels per side that become channels; a multiple of `scale`.
    width, blocks
        Of the body.
    vector
        Length of the prior vector that the net reads off the whole picture (`Extractor`); 0: none.

    Raises
    ------
    UsageError
        If the task is unknown or `fold` is no multiple of `scale`.
    """

    def __init__(self, *, task: str, scale: int = 1, fold: int = 4, width: int = 64, blocks: int = 12, vector: int = 0):
        super().__init__()
        if task not in TASKS or scale < 1 or fold % scale:
            raise UsageError(f"expected a task of {TASKS} and fold a multiple of scale, got {task=}, {scale=}, {fold=}")
        self.task, self.scale, self.fold, self.width, self.vector = task, scale, fold, width, vector
        planes = (3 + (task == "inpaint") * 4) * (fold // scale) ** 2
        self.body = Body(planes, 3 * fold**2, width=width, blocks=blocks, vector=vector)
        self.extractor = Extractor(planes, vector) if vector else None
        self.multiple = fold if task != "inpaint" else max(fold, 2**LEVELS)
        self.margin = fold * self.body.radius + (2 * scale if scale > 1 else 0) + fill_margin() * (task == "inpaint")

    def planes(self, lq: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The body's input and the base."""
        start = base(self.task, self.scale, lq, mask)
        shown = lq
        if self.task == "inpaint" and mask is not None:
            hole = mask.to(lq.dtype).expand(len(lq), -1, -1, -1)
            shown = torch.cat([start, lq * (1 - hole), hole], 1)
        return functional.pixel_unshuffle(shown, self.fold // self.scale), start

    def told(self, lq: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """The prior vector of whole pictures, [batch, vector]; None if the net has none."""
        return None if self.extractor is None else self.extractor(self.planes(lq, mask)[0])

    def both(self, lq: Tensor, mask: Tensor | None, told: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features [batch, width, canvas / fold] and x0_hat."""
        planes, start = self.planes(lq, mask)
        if self.extractor is not None and told is None:
            told = self.extractor(planes)
        features = self.body.features(planes, told)
        x0 = start + functional.pixel_shuffle(self.body.last(features), self.fold).to(start.dtype)
        return features, known_kept(x0, lq, mask)

    def forward(self, lq: Tensor, mask: Tensor | None = None, told: Tensor | None = None) -> Tensor:
        """Restore.

        Parameters
        ----------
        lq
            Float32, [batch, 3, rows, columns] in [-1, 1]; the canvas is a multiple of `multiple`.
        mask
            1 where unknown, [batch, 1, rows, columns]; for inpainting.
        told
            What `told` gave for the whole pictures; default: read off what is here.

        Returns
        -------
        Tensor
            [batch, 3, scale * rows, scale * columns].
        """
        return self.both(lq, mask, told)[1]


class Extractor(nn.Module):
    """A vector from a picture of any size: what is wrong with it, as DiffIR's compact prior (arXiv:2303.09472, eq. 2).

    Parameters
    ----------
    planes
        Channels of the folded picture.
    vector
        Length of the result.
    width
        Channels inside.
    """

    def __init__(self, planes: int, vector: int, *, width: int = 48):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(planes, width, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.LeakyReLU(0.1),
        )
        self.mix = nn.Sequential(nn.Linear(2 * width, vector), nn.LeakyReLU(0.1), nn.Linear(vector, vector))

    def forward(self, planes: Tensor) -> Tensor:
        """[batch, planes, rows, columns] -> [batch, vector]."""
        return self.mix(self.layers(planes.contiguous(memory_format=torch.channels_last)).mean((2, 3)))


def known_kept(x0: Tensor, lq: Tensor, mask: Tensor | None) -> Tensor:
    """`x0` inside the hole and `lq` outside; `x0` if there is no mask."""
    return x0 if mask is None else torch.where(mask.expand_as(lq) > 0.5, x0, lq)
