"""The vector-quantised autoencoder of latent diffusion: pictures to 3 channels at a quarter of the size, and back.

Esser et al. 2021, arXiv:2012.09841; Rombach et al. 2022, arXiv:2112.10752, table 8 (f = 4). Diffusion runs on what
`encode` gives, which is not quantised; `decode` quantises first. Pictures are [batch, 3, rows, columns] in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResBlock(nn.Module):
    """Norm, swish and convolution, twice, with a skip."""

    def __init__(self, dim: int, dim_out: int):
        super().__init__()
        self.norm1, self.norm2 = norm(dim), norm(dim_out)
        self.conv1 = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.conv2 = nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, dim, rows, columns] -> [batch, dim_out, rows, columns]."""
        h = self.conv1(functional.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(functional.silu(self.norm2(h)))


class Attention(nn.Module):
    """One head over all pixels."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = norm(dim)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(dim, dim, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        out = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(out)


class Encoder(nn.Module):
    """Pictures -> features at 2^(levels − 1) of the size."""

    def __init__(self, width: int, multipliers: Sequence[int], blocks: int, channels: int):
        super().__init__()
        widths = [width, *(width * m for m in multipliers)]
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList()
        for i in range(len(multipliers)):
            shapes = [(widths[i] if j == 0 else widths[i + 1], widths[i + 1]) for j in range(blocks)]
            stage: dict[str, Any] = {"block": nn.ModuleList(ResBlock(*shape) for shape in shapes)}
            if i < len(multipliers) - 1:
                stage["downsample"] = nn.ModuleDict({"conv": nn.Conv2d(widths[i + 1], widths[i + 1], 3, stride=2)})
            self.down.append(nn.ModuleDict(stage))
        self.mid = _middle(widths[-1])
        self.norm_out = norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, rows, columns] -> [batch, channels, rows / 4, columns / 4]."""
        h = self.conv_in(x)
        stages: Any = self.down
        for stage in stages:
            for block in stage["block"]:
                h = block(h)
            if "downsample" in stage:
                h = stage["downsample"]["conv"](functional.pad(h, (0, 1, 0, 1)))
        return self.conv_out(functional.silu(self.norm_out(_through(self.mid, h))))


class Decoder(nn.Module):
    """Features -> pictures."""

    def __init__(self, width: int, multipliers: Sequence[int], blocks: int, channels: int):
        super().__init__()
        widths = [width * m for m in multipliers]
        self.conv_in = nn.Conv2d(channels, widths[-1], 3, padding=1)
        self.mid = _middle(widths[-1])
        self.up = nn.ModuleList()
        for i, wide in enumerate(widths):
            before = widths[i + 1] if i + 1 < len(widths) else wide
            shapes = [(before if j == 0 else wide, wide) for j in range(blocks + 1)]
            stage: dict[str, Any] = {"block": nn.ModuleList(ResBlock(*shape) for shape in shapes)}
            if i > 0:
                stage["upsample"] = nn.ModuleDict({"conv": nn.Conv2d(wide, wide, 3, padding=1)})
            self.up.append(nn.ModuleDict(stage))
        self.norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """[batch, channels, rows, columns] -> [batch, 3, 4 rows, 4 columns]."""
        h = _through(self.mid, self.conv_in(z))
        stages: Any = self.up
        for stage in reversed(stages):
            for block in stage["block"]:
                h = block(h)
            if "upsample" in stage:
                h = stage["upsample"]["conv"](functional.interpolate(h, scale_factor=2.0))
        return self.conv_out(functional.silu(self.norm_out(h)))


class Quantizer(nn.Module):
    """The nearest of `codes` vectors."""

    def __init__(self, codes: int, channels: int):
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)

    def forward(self, z: Tensor) -> Tensor:
        """[batch, channels, rows, columns], the same shape."""
        flat = z.movedim(1, -1)
        nearest = torch.cdist(flat.reshape(-1, flat.shape[-1]), self.embedding.weight).argmin(1)
        return self.embedding(nearest).reshape(flat.shape).movedim(-1, 1)


class VQAutoencoder(nn.Module):
    """``encode`` and ``decode``.

    Parameters
    ----------
    width, multipliers, blocks
        Channels at full size, per level as multiples, and residual blocks per level.
    channels, codes
        Of the latent, and vectors in the book.
    """

    def __init__(
        self,
        *,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks: int = 2,
        channels: int = 3,
        codes: int = 8192,
    ):
        super().__init__()
        self.encoder = Encoder(width, multipliers, blocks, channels)
        self.decoder = Decoder(width, multipliers, blocks, channels)
        self.quantize = Quantizer(codes, channels)
        self.quant_conv, self.post_quant_conv = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.factor = 2 ** (len(multipliers) - 1)

    def encode(self, x: Tensor) -> Tensor:
        """[batch, 3, rows, columns] -> [batch, channels, rows / factor, columns / factor], not quantised."""
        return self.quant_conv(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Quantise and decode."""
        return self.decoder(self.post_quant_conv(self.quantize(z)))

    def forward(self, x: Tensor) -> Tensor:
        """There and back."""
        return self.decode(self.encode(x))


def norm(dim: int) -> nn.GroupNorm:
    """Groups of 32, or as many as the channels allow."""
    return nn.GroupNorm(min(32, dim), dim, eps=1e-6)


def _middle(dim: int) -> nn.ModuleDict:
    return nn.ModuleDict({"block_1": ResBlock(dim, dim), "attn_1": Attention(dim), "block_2": ResBlock(dim, dim)})


def _through(middle: nn.ModuleDict, h: Tensor) -> Tensor:
    for part in middle.values():
        h = part(h)
    return h
