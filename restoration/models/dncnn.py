"""DnCNN at full resolution, the plain reference of denoising: x0_hat = y − net(y), convolutions and ReLU in a row.

Zhang et al. 2017, arXiv:1608.03981, without batch norm. Once ``fewstep fit experiment=restoration/dncnn`` has
trained it, `fewstep bench restoration` compares with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DnCNN(nn.Module):
    """``net(lq) -> x0_hat``.

    Parameters
    ----------
    width
        Channels.
    layers
        Convolutions, the first and last included.
    """

    def __init__(self, *, width: int = 56, layers: int = 17):
        super().__init__()
        inner = [nn.Conv2d(width, width, 3, padding=1) for _ in range(layers - 2)]
        self.layers = nn.ModuleList([nn.Conv2d(3, width, 3, padding=1), *inner, nn.Conv2d(width, 3, 3, padding=1)])
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.layers[-1].weight)
        self.margin, self.multiple = layers, 1

    def forward(self, lq: Tensor, mask: Tensor | None = None, told: Tensor | None = None) -> Tensor:
        """Float32 [batch, 3, rows, columns] in [-1, 1], the same shape; `mask` and `told` are not used."""
        h = lq.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            h = torch.relu(layer(h))
        return lq - self.layers[-1](h).to(lq.dtype)
