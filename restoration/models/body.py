"""The convolutional body of all small restoration nets: 3 x 3 residual blocks at low resolution, told a vector.

    h = in(z);   h = h + conv(f(conv(h) (1 + k) + b)) per block, (k, b) linear in the vector;   out(h + in(z))

Plain convolutions are what a CPU does fastest; pixels are folded into channels before and unfolded after (Shi et al.
2016, arXiv:1609.05158). FiLM: Perez et al. 2018, arXiv:1709.07871. The last convolution starts at 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Body(nn.Module):
    """``body(z, vector) -> features``, then ``body.out(features)``.

    Parameters
    ----------
    channels_in, channels_out
        Of z and of the answer.
    width
        Channels of the blocks.
    blocks
        How many.
    vector
        Length of the vector that modulates each block; 0: none.
    """

    def __init__(self, channels_in: int, channels_out: int, *, width: int = 64, blocks: int = 12, vector: int = 0):
        super().__init__()
        self.enter = nn.Conv2d(channels_in, width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(width, vector) for _ in range(blocks))
        self.leave = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, channels_out, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.radius = 2 * blocks + 3

    def features(self, z: Tensor, vector: Tensor | None = None) -> Tensor:
        """What the last convolution reads.

        Parameters
        ----------
        z
            [batch, channels_in, rows, columns].
        vector
            [batch, vector], if the body is told one.

        Returns
        -------
        Tensor
            [batch, width, rows, columns].
        """
        first = self.enter(z.contiguous(memory_format=torch.channels_last))
        h = first
        for block in self.blocks:
            h = block(h, vector)
        return first + self.leave(h)

    def forward(self, z: Tensor, vector: Tensor | None = None) -> Tensor:
        """[batch, channels_in, rows, columns] -> [batch, channels_out, rows, columns]."""
        return self.last(self.features(z, vector))


class _Block(nn.Module):
    def __init__(self, width: int, vector: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(vector, 2 * width) if vector else None
        for convolution, gain in ((self.first, 1.0), (self.second, 0.1)):
            nn.init.kaiming_normal_(convolution.weight, a=0.1)
            nn.init.zeros_(convolution.bias)
            with torch.no_grad():
                convolution.weight.mul_(gain)
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, h: Tensor, vector: Tensor | None) -> Tensor:
        """[batch, width, rows, columns], the same shape."""
        inner = self.first(h)
        if self.film is not None and vector is not None:
            gain, shift = self.film(vector)[:, :, None, None].chunk(2, 1)
            inner = inner * (1 + gain) + shift
        return h + self.second(functional.leaky_relu(inner, 0.1))
