"""A small convolutional U-Net for images and complex images, cheap on a CPU: it works on 2 x 2 pixels at a time.

    h = conv(unshuffle(x)) -> down blocks -> middle -> up blocks with skips -> shuffle(conv(h))

Ronneberger et al. 2015, arXiv:1505.04597, with the residual blocks of Ho et al. 2020, arXiv:2006.11239, appendix B, and
the time entering by scale and shift (Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1).

Letters: B batch, C channels, H and W rows and columns, E width of the embedded time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError


class UNet(nn.Module):
    """``net(x, c_noise, cond)``; images of any size, which are padded by repeating their border.

    Parameters
    ----------
    channels_in, channels_out
        Of the images.
    widths
        Channels per level, finest first; each level halves the resolution. Multiples of 8.
    blocks
        Residual blocks per level and direction.
    unshuffle
        Pixels per side that are folded into channels before the first convolution; 1 works at full resolution.
    cond_channels
        Channels of a condition image of the same size, which is told beside x; 0: none.
    middle_attention
        Self-attention over the places of the coarsest level.

    Raises
    ------
    UsageError
        If a size is not positive or a width is no multiple of 8.
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        *,
        widths: Sequence[int] = (32, 64, 96),
        blocks: int = 1,
        unshuffle: int = 2,
        cond_channels: int = 0,
        middle_attention: bool = False,
    ):
        super().__init__()
        if min(channels_in, channels_out, blocks, unshuffle) < 1 or cond_channels < 0 or not widths:
            raise UsageError(
                f"expected positive sizes, got {channels_in=}, {channels_out=}, {blocks=}, {unshuffle=}, "
                f"{cond_channels=}, widths={list(widths)}"
            )
        if any(w < 8 or w % 8 for w in widths):
            raise UsageError(f"expected widths that are multiples of 8, got {list(widths)}")
        self.unshuffle, self.cond_channels = unshuffle, cond_channels
        self.multiple = unshuffle * 2 ** (len(widths) - 1)
        first, embedded = widths[0], 4 * widths[0]
        self.time = TimeEmbedding(embedded)
        self.enter = nn.Conv2d((channels_in + cond_channels) * unshuffle**2, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, width = [first], first
        for level, wide in enumerate(widths):
            stage = nn.ModuleList()
            for _ in range(blocks):
                stage.append(Block(width, wide, embedded))
                width = wide
                kept.append(width)
            self.down.append(stage)
            if level < len(widths) - 1:
                kept.append(width)
        self.middle = nn.ModuleList([Block(width, width, embedded), Block(width, width, embedded)])
        self.attention = Attention(width) if middle_attention else nn.Identity()
        for wide in reversed(widths):
            stage = nn.ModuleList()
            for _ in range(blocks + 1):
                stage.append(Block(width + kept.pop(), wide, embedded))
                width = wide
            self.up.append(stage)
        self.leave = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, channels_out * unshuffle**2, 3, padding=1)
        )
        nn.init.zeros_(self.leave[-1].weight)
        nn.init.zeros_(self.leave[-1].bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on a CPU

    def forward(self, x: Tensor, c_noise: Tensor, cond: Tensor | None = None) -> Tensor:
        """Map images to images.

        Parameters
        ----------
        x
            [B, channels_in, H, W].
        c_noise
            log(sigma)/4 or another number of size one that tells the noise, [B] or scalar.
        cond
            [B, cond_channels, H, W], if the net was made for one.

        Returns
        -------
        Tensor
            [B, channels_out, H, W].

        Raises
        ------
        UsageError
            If a condition is missing or not expected.
        """
        if (cond is None) != (self.cond_channels == 0):
            raise UsageError(
                f"expected a condition of {self.cond_channels} channels, got {'none' if cond is None else 'one'}"
            )
        height, width = x.shape[-2:]
        h = x if cond is None else torch.cat([x, cond.to(x.dtype)], 1)
        h = functional.pad(h, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        embedding = self.time(c_noise.to(x.dtype).expand(len(x)))
        h = self.enter(functional.pixel_unshuffle(h, self.unshuffle))
        kept = [h]
        for level, stage in enumerate(self.down):
            if level:
                h = functional.avg_pool2d(h, 2)
                kept.append(h)
            for block in stage:
                h = block(h, embedding)
                kept.append(h)
        h = self.middle[1](self.attention(self.middle[0](h, embedding)), embedding)
        for level, stage in enumerate(self.up):
            if level:
                h = functional.interpolate(h, scale_factor=2.0, mode="nearest")
            for block in stage:
                h = block(torch.cat([h, kept.pop()], 1), embedding)
        return functional.pixel_shuffle(self.leave(h), self.unshuffle)[..., :height, :width]


class TimeEmbedding(nn.Module):
    """Sines and cosines of c_noise through a perceptron, [B] -> [B, E]."""

    def __init__(self, embedded: int, *, rates: int = 16):
        super().__init__()
        self.register_buffer("rates", torch.exp(torch.linspace(0, math.log(64.0), rates)), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * rates, embedded), nn.SiLU(), nn.Linear(embedded, embedded), nn.SiLU())

    def forward(self, c_noise: Tensor) -> Tensor:
        """[B] -> [B, E]."""
        angles = c_noise[:, None] * self.rates.to(c_noise.dtype)
        return self.layers(torch.cat([angles.sin(), angles.cos()], 1))


class Block(nn.Module):
    """Two convolutions with the time in between by scale and shift, and a shortcut."""

    def __init__(self, channels: int, out: int, embedded: int):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        self.told = nn.Linear(embedded, 2 * out)
        self.norm = nn.GroupNorm(8, out)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, channels, H, W], [B, E] -> [B, out, H, W]."""
        scale, shift = self.told(embedding)[:, :, None, None].chunk(2, 1)
        h = functional.silu(torch.addcmul(shift, self.norm(self.first(x)), 1 + scale))
        return self.shortcut(x) + self.second(h)


class Attention(nn.Module):
    """Self-attention over places, with a shortcut."""

    def __init__(self, channels: int, *, heads: int = 4):
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(8, channels)
        self.ask, self.join = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        q, k, v = self.ask(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2).unbind(1)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return x + self.join(mixed.transpose(-1, -2).flatten(1, 2).unflatten(-1, x.shape[-2:]))
