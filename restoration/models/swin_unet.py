"""A U-Net whose attention is Swin's, in windows: the published net of latent residual shifting.

Yue et al. 2023, arXiv:2307.12348, section 3.3: the U-Net of Dhariwal and Nichol 2021, arXiv:2105.05233, with windows of
Liu et al. 2021, arXiv:2103.14030, in place of its attention, at one layer of each level. The input is the scaled latent
beside the degraded picture (or its features), time is the index 0 to T − 1. 118.59 M parameters as published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError


def embedding(time: Tensor, dim: int) -> Tensor:
    """Cosines and sines of time, [batch] -> [batch, dim], rates from 1 to 1/10000."""
    half = dim // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device, dtype=torch.float32) / half)
    angle = time.float()[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], -1)


class ResBlock(nn.Module):
    """Norm, swish, convolution; the second norm is scaled and shifted by time."""

    def __init__(self, dim: int, dim_out: int, time: int):
        super().__init__()
        self.norm1, self.norm2 = _norm(dim), _norm(dim_out)
        self.first = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.told = nn.Linear(time, 2 * dim_out)
        self.second = nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.skip = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """[batch, dim, rows, columns] -> [batch, dim_out, rows, columns]."""
        h = self.first(functional.silu(self.norm1(x)))
        scale, shift = self.told(functional.silu(t))[:, :, None, None].chunk(2, 1)
        return self.skip(x) + self.second(functional.silu(self.norm2(h) * (1 + scale) + shift))


class WindowBlock(nn.Module):
    """Attention within windows, moved by half a window in every other block, then two linear layers.

    Parameters
    ----------
    dim, heads
        Channels and heads.
    window
        Pixels per side.
    shift
        By how many pixels the windows are moved.
    expansion
        Width of the linear layers, as a multiple of `dim`.
    """

    def __init__(self, dim: int, heads: int, *, window: int, shift: int, expansion: float):
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.norm1, self.norm2 = _norm(dim), _norm(dim)
        self.qkv, self.out = nn.Conv2d(dim, 3 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.widen = nn.Conv2d(dim, int(expansion * dim), 1)
        self.narrow = nn.Conv2d(int(expansion * dim), dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape; the sides are multiples of the window."""
        x = x + self._attended(self.norm1(x))
        return x + self.narrow(functional.gelu(self.widen(self.norm2(x))))

    def _attended(self, x: Tensor) -> Tensor:
        batch, dim, rows, columns = x.shape
        w = self.window
        moved = torch.roll(x, (-self.shift, -self.shift), (2, 3)) if self.shift else x
        parts = self.qkv(moved).reshape(batch, 3, self.heads, dim // self.heads, rows // w, w, columns // w, w)
        q, k, v = parts.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, -1, self.heads, w * w, dim // self.heads).unbind(0)
        mask = self.bias[_relative(w).to(x.device)].permute(2, 0, 1)[None]
        if self.shift:
            apart = _apart(rows, columns, w, self.shift).to(x.device)
            mask = (
                mask + torch.zeros(apart.shape, device=x.device).masked_fill(apart, -100.0).repeat(batch, 1, 1)[:, None]
            )
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(x.dtype))
        out = out.reshape(batch, rows // w, columns // w, self.heads, w, w, dim // self.heads)
        out = self.out(out.permute(0, 3, 6, 1, 4, 2, 5).reshape(batch, dim, rows, columns))
        return torch.roll(out, (self.shift, self.shift), (2, 3)) if self.shift else out


class WindowLayer(nn.Module):
    """Channels to `embed`, window blocks, and back."""

    def __init__(self, dim: int, *, embed: int, heads: int, depth: int, window: int, expansion: float):
        super().__init__()
        self.enter, self.leave = nn.Conv2d(dim, embed, 1), nn.Conv2d(embed, dim, 1)
        self.blocks = nn.ModuleList(
            WindowBlock(embed, heads, window=window, shift=(i % 2) * (window // 2), expansion=expansion)
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        h = self.enter(x)
        for block in self.blocks:
            h = block(h)
        return x + self.leave(h)


class SwinUNet(nn.Module):
    """``net(x, lq, timestep) -> z0_hat`` on latents.

    Parameters
    ----------
    channels
        Of the latent.
    cond_channels
        Of the degraded picture or its features, at the latent's size.
    width, multipliers, blocks
        Channels of the finest level, per level as multiples, and residual blocks per level.
    embed, depth, window, head, expansion
        Of the windows: channels, blocks per layer, pixels per side, channels per head, width of the linear layers.

    Raises
    ------
    UsageError
        If `embed` is no multiple of `head`.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        cond_channels: int = 3,
        width: int = 160,
        multipliers: Sequence[int] = (1, 2, 2, 4),
        blocks: int = 2,
        embed: int = 192,
        depth: int = 2,
        window: int = 8,
        head: int = 32,
        expansion: float = 4.0,
    ):
        super().__init__()
        if embed % head:
            raise UsageError(f"expected embed a multiple of head, got {embed=}, {head=}")
        self.width, self.multiple = width, window * 2 ** (len(multipliers) - 1)
        time = 4 * width

        def windows(dim: int) -> WindowLayer:
            return WindowLayer(dim, embed=embed, heads=embed // head, depth=depth, window=window, expansion=expansion)

        self.time = nn.ModuleList([nn.Linear(width, time), nn.Linear(time, time)])
        widths = [width * m for m in multipliers]
        self.enter = nn.Conv2d(channels + cond_channels, widths[0], 3, padding=1)
        self.down, skips, dim = nn.ModuleList(), [widths[0]], widths[0]
        for i, wide in enumerate(widths):
            for j in range(blocks):
                self.down.append(_Part(ResBlock(dim, wide, time), windows(wide) if j == 0 else None))
                dim = wide
                skips.append(dim)
            if i < len(widths) - 1:
                self.down.append(_Part(None, nn.Conv2d(dim, dim, 3, stride=2, padding=1)))
                skips.append(dim)
        self.middle = nn.ModuleList([ResBlock(dim, dim, time), windows(dim), ResBlock(dim, dim, time)])
        self.up = nn.ModuleList()
        for i, wide in reversed(list(enumerate(widths))):
            for j in range(blocks + 1):
                first = ResBlock(dim + skips.pop(), wide, time)
                dim = wide
                double = _Double(dim) if i and j == blocks else None
                self.up.append(_Part(first, windows(dim) if j == 0 else None, double))
        self.norm = _norm(dim)
        self.last = nn.Conv2d(dim, channels, 3, padding=1)

    def forward(self, x: Tensor, lq: Tensor, timestep: Tensor) -> Tensor:
        """Predict the clean latent.

        Parameters
        ----------
        x
            Scaled state, [batch, channels, rows, columns], sides multiples of `multiple`.
        lq
            [batch, cond_channels, rows, columns].
        timestep
            0 to T − 1, [batch].

        Returns
        -------
        Tensor
            Shaped like `x`.
        """
        first, second = self.time
        t = second(functional.silu(first(embedding(timestep, self.width).to(x.dtype))))
        h = self.enter(torch.cat([x, lq], 1))
        skips = [h]
        for part in self.down:
            h = part(h, t)
            skips.append(h)
        one, windows, two = self.middle
        h = two(windows(one(h, t)), t)
        for part in self.up:
            h = part(torch.cat([h, skips.pop()], 1), t)
        return self.last(functional.silu(self.norm(h)))


class _Part(nn.Module):
    def __init__(self, block: nn.Module | None, *more: nn.Module | None):
        super().__init__()
        self.block = block
        self.more = nn.ModuleList(part for part in more if part is not None)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x = x if self.block is None else self.block(x, t)
        for part in self.more:
            x = part(x)
        return x


class _Double(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0))


def _norm(dim: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, dim), dim)


def _relative(window: int) -> Tensor:
    """Which bias belongs to a pair of pixels of a window, [window², window²]."""
    ax = torch.arange(window)
    rows, columns = (grid.flatten() for grid in torch.meshgrid(ax, ax, indexing="ij"))
    down, right = (side[:, None] - side[None] + window - 1 for side in (rows, columns))
    return down * (2 * window - 1) + right


def _apart(rows: int, columns: int, window: int, shift: int) -> Tensor:
    """Pairs of pixels that only the moving brought into one window, bool [windows, window², window²]."""
    sides = []
    for n in (rows, columns):
        place = torch.arange(n)
        sides.append((place >= n - window).long() + (place >= n - shift).long())
    region = 3 * sides[0][:, None] + sides[1][None]
    parts = region.reshape(rows // window, window, columns // window, window).permute(0, 2, 1, 3)
    flat = parts.reshape(-1, window * window)
    return flat[:, :, None] != flat[:, None, :]
