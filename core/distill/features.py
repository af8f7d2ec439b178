"""Features of pictures from a fixed net of random weights: enough to tell laws apart where no trained net is at hand.

Two random convolutions (for how much of a texture such nets keep: Ustyuzhaninov et al. 2016, arXiv:1606.00021),
averaged over quarters of the picture, beside the picture itself at an eighth of its size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fewstep.core import rng
from fewstep.core.errors import UsageError


@dataclass(frozen=True)
class RandomFeatures:
    """``features(x0) -> [batch, d]``, differentiable; the same for the same options.

    Parameters
    ----------
    seed
        Of the weights.
    widths
        Channels of the two convolutions.
    kernel
        Pixels per side of the first.
    """

    seed: int = 0
    widths: tuple[int, int] = (32, 64)
    kernel: int = 5

    def __call__(self, x0: Tensor) -> Tensor:
        """[batch, channels, rows, columns] in [-1, 1] -> [batch, d], each about of size 1.

        Raises
        ------
        UsageError
            If these are no real pictures of at least 16 pixels per side.
        """
        if x0.ndim != 4 or x0.is_complex() or min(x0.shape[-2:]) < 16:
            raise UsageError(f"expected real pictures [batch, channels, 16.., 16..], got {list(x0.shape)}")
        first, second = (weight.to(x0) for weight in self._weights(x0.shape[1]))
        fine = F.leaky_relu(F.conv2d(x0, first, stride=2), 0.2)
        coarse = F.leaky_relu(F.conv2d(fine, second, stride=2), 0.2)
        parts = [F.adaptive_avg_pool2d(h.abs(), 2).flatten(1) for h in (fine, coarse)]
        small = F.adaptive_avg_pool2d(x0, (x0.shape[-2] // 8, x0.shape[-1] // 8)).flatten(1)
        return torch.cat([*parts, small], dim=1)

    def _weights(self, channels: int) -> tuple[Tensor, Tensor]:
        """Zero-mean filters, so that edges count and brightness does not."""
        generator = rng.generator(self.seed)
        sizes = ((channels, self.widths[0], self.kernel), (self.widths[0], self.widths[1], 3))
        found: list[Tensor] = []
        for inputs, outputs, side in sizes:
            weight = torch.randn(outputs, inputs, side, side, generator=generator) * (2 / inputs) ** 0.5 / side
            found.append(weight - weight.mean(dim=(2, 3), keepdim=True) if not found else weight)
        return found[0] * 3, found[1]
