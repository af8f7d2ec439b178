"""The noise predictors of IR-SDE and Refusion: eps(x − mu beside mu, timestep), mu the degraded picture.

`ConditionalUNet`: Luo et al. 2023, arXiv:2301.11699. `ConditionalNAFNet`: Luo et al. 2023, arXiv:2304.08291, on the
blocks of Chen et al. 2022, arXiv:2204.04676. Pictures are [batch, 3, rows, columns] in [0, 1], timesteps 1 to T; sides
are padded to a multiple of 2^levels and cut again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def positions(time: Tensor, dim: int) -> Tensor:
    """Sines and cosines of time, [batch] -> [batch, dim], rates from 1 to 1/10000."""
    half = dim // 2
    rates = torch.exp(torch.arange(half, device=time.device, dtype=time.dtype) * (-math.log(10_000) / (half - 1)))
    angle = time[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], -1)


class ChannelNorm(nn.Module):
    """Layer norm over channels, with a gain."""

    def __init__(self, dim: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        eps = 1e-3 if x.dtype in (torch.float16, torch.bfloat16) else 1e-5
        return (x - mean) * torch.rsqrt(variance + eps) * self.gain


class LinearAttention(nn.Module):
    """Attention of cost linear in the pixels, behind a norm and with a skip (Shen et al. 2021, arXiv:1812.01243)."""

    def __init__(self, dim: int, *, heads: int = 4, head: int = 32):
        super().__init__()
        self.heads, self.head = heads, head
        self.norm = ChannelNorm(dim)
        self.qkv = nn.Conv2d(dim, 3 * heads * head, 1, bias=False)
        self.out = nn.Conv2d(heads * head, dim, 1)
        self.out_norm = ChannelNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        batch, _, rows, columns = x.shape
        pixels = rows * columns
        q, k, v = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, self.head, pixels).unbind(1)
        context = k.softmax(-1) @ (v / pixels).transpose(-2, -1)
        out = context.transpose(-2, -1) @ (q.softmax(-2) * self.head**-0.5)
        return x + self.out_norm(self.out(out.reshape(batch, -1, rows, columns)))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, the first scaled and shifted by time."""

    def __init__(self, dim: int, dim_out: int, time: int):
        super().__init__()
        self.told = nn.Linear(time, 2 * dim_out)
        self.first = nn.Conv2d(dim, dim_out, 3, padding=1, bias=False)
        self.second = nn.Conv2d(dim_out, dim_out, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(dim, dim_out, 1, bias=False) if dim != dim_out else nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """[batch, dim, rows, columns] -> [batch, dim_out, rows, columns]."""
        scale, shift = self.told(functional.silu(t))[:, :, None, None].chunk(2, 1)
        h = functional.silu(self.first(x) * (1 + scale) + shift)
        return functional.silu(self.second(h)) + self.skip(x)


class ConditionalUNet(nn.Module):
    """``net(x, mu, timestep) -> eps``.

    Parameters
    ----------
    width
        Channels at full size, doubled at each level; 64, or 32 for the published inpainting weights.
    depth
        Levels.
    """

    def __init__(self, *, width: int = 64, depth: int = 4):
        super().__init__()
        self.width, self.multiple = width, 2**depth
        self.margin = 16 * 2**depth
        time = 4 * width
        self.enter = nn.Conv2d(6, width, 7, padding=3, bias=False)
        self.time = nn.Sequential(nn.Linear(width, time), nn.GELU(), nn.Linear(time, time))
        widths = [width * 2**i for i in range(depth + 1)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i in range(depth):
            low, high, last = widths[i], widths[i + 1], i == depth - 1
            halve = nn.Conv2d(low, high, 3, padding=1, bias=False) if last else nn.Conv2d(low, high, 4, 2, 1)
            blocks = [ResidualBlock(low, low, time) for _ in range(2)]
            self.down.append(nn.ModuleList([*blocks, LinearAttention(low), halve]))
            double = nn.Conv2d(high, low, 3, padding=1, bias=i != 0)
            blocks = [ResidualBlock(high + low, high, time) for _ in range(2)]
            self.up.insert(0, nn.ModuleList([*blocks, LinearAttention(high), double]))
        self.middle = nn.ModuleList(
            [
                ResidualBlock(widths[-1], widths[-1], time),
                LinearAttention(widths[-1]),
                ResidualBlock(widths[-1], widths[-1], time),
            ]
        )
        self.end = ResidualBlock(2 * width, width, time)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor, mu: Tensor, timestep: Tensor) -> Tensor:
        """Predict the noise.

        Parameters
        ----------
        x, mu
            State and degraded picture, [batch, 3, rows, columns] in [0, 1].
        timestep
            1 to T, [batch].

        Returns
        -------
        Tensor
            Shaped like `x`.
        """
        rows, columns = x.shape[-2:]
        h = first = self.enter(_padded(torch.cat([x - mu, mu], 1), self.multiple, "reflect"))
        t = self.time(positions(timestep.to(x.dtype), self.width))
        skips: list[Tensor] = []
        down: Any = self.down
        up: Any = self.up
        for one, two, attention, halve in down:
            h = one(h, t)
            skips.append(h)
            h = attention(two(h, t))
            skips.append(h)
            h = halve(h)
        one, attention, two = self.middle
        h = two(attention(one(h, t)), t)
        for i, (one, two, attention, double) in enumerate(up):
            h = one(torch.cat([h, skips.pop()], 1), t)
            h = attention(two(torch.cat([h, skips.pop()], 1), t))
            h = double(h if i == len(self.up) - 1 else functional.interpolate(h, scale_factor=2.0))
        return self.last(self.end(torch.cat([h, first], 1), t))[..., :rows, :columns]


class NAFBlock(nn.Module):
    """Gates instead of activations, channels weighted by their means; both halves shifted and scaled by time."""

    def __init__(self, dim: int, time: int):
        super().__init__()
        self.told = nn.Linear(time // 2, 4 * dim)
        self.norm1, self.norm2 = ChannelNorm(dim), ChannelNorm(dim)
        self.enter, self.leave = nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.local = nn.Conv2d(2 * dim, 2 * dim, 3, padding=1, groups=2 * dim)
        self.attend = nn.Conv2d(dim, dim, 1)
        self.widen, self.narrow = nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.beta, self.gamma = (nn.Parameter(torch.zeros(1, dim, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        shift1, scale1, shift2, scale2 = self.told(gate(t))[:, :, None, None].chunk(4, 1)
        h = gate(self.local(self.enter(self.norm1(x) * (1 + scale1) + shift1)))
        y = x + self.beta * self.leave(h * self.attend(h.mean((2, 3), keepdim=True)))
        return y + self.gamma * self.narrow(gate(self.widen(self.norm2(y) * (1 + scale2) + shift2)))


class ConditionalNAFNet(nn.Module):
    """``net(x, mu, timestep) -> eps``, see `ConditionalUNet.forward`.

    Parameters
    ----------
    width
        Channels at full size, doubled at each level.
    encoder, middle, decoder
        Blocks per level on the way down, at the coarsest, and on the way up.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        encoder: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: Sequence[int] = (1, 1, 1, 1),
    ):
        super().__init__()
        self.width, self.multiple, self.margin = width, 2 ** len(encoder), 16 * 2 ** len(encoder)
        time = 4 * width
        self.time = nn.ModuleList([nn.Linear(width, 2 * time), nn.Linear(time, time)])
        self.enter, self.last = nn.Conv2d(6, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        widths = [width * 2**i for i in range(len(encoder) + 1)]
        self.encoder = nn.ModuleList(_stage(w, n, time) for w, n in zip(widths, encoder, strict=False))
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, 2) for w in widths[:-1])
        self.middle = _stage(widths[-1], middle, time)
        self.up = nn.ModuleList(nn.Conv2d(w, 2 * w, 1, bias=False) for w in widths[:0:-1])
        self.decoder = nn.ModuleList(_stage(w, n, time) for w, n in zip(widths[-2::-1], decoder, strict=True))

    def forward(self, x: Tensor, mu: Tensor, timestep: Tensor) -> Tensor:
        """As for `ConditionalUNet`."""
        rows, columns = x.shape[-2:]
        first, second = self.time
        t = second(gate(first(positions(timestep.to(x.dtype), self.width))))
        h = self.enter(_padded(torch.cat([x - mu, mu], 1), self.multiple, "constant"))
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=True):
            h = _through(stage, h, t)
            skips.append(h)
            h = down(h)
        h = _through(self.middle, h, t)
        for stage, up in zip(self.decoder, self.up, strict=True):
            h = _through(stage, functional.pixel_shuffle(up(h), 2) + skips.pop(), t)
        return self.last(h)[..., :rows, :columns]


def gate(x: Tensor) -> Tensor:
    """The product of two halves of the channels."""
    first, second = x.chunk(2, 1)
    return first * second


def _stage(width: int, n: int, time: int) -> nn.ModuleList:
    return nn.ModuleList(NAFBlock(width, time) for _ in range(n))


def _through(stage: nn.ModuleList, h: Tensor, t: Tensor) -> Tensor:
    for block in stage:
        h = block(h, t)
    return h


def _padded(x: Tensor, multiple: int, mode: str) -> Tensor:
    pad = (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple)
    fits = mode != "reflect" or (pad[1] < x.shape[-1] and pad[3] < x.shape[-2])
    return functional.pad(x, pad, mode=mode if fits else "replicate") if any(pad) else x
