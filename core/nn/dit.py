"""A diffusion transformer over image patches that can compute some of its tokens and remember the others.

The blocks are those of DiT (Peebles & Xie 2023, arXiv:2212.09748): attention and a feed-forward layer whose input is
shifted and scaled, and whose output is gated, by time and label.

Letters: B batch, N tokens, n tokens that are computed, W width, K heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError


@dataclass
class Tokens:
    """What a transformer remembers of its tokens between calls, and which of them it computes.

    Parameters
    ----------
    active
        Numbers of the tokens that are computed, [B, n]; None: all.
    kept
        Keys and values of each block, [B, K, N, W/K] twice.
    said
        The answer token by token, [B, N, patch values].
    """

    active: Tensor | None = None
    kept: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    said: Tensor | None = None

    def join(self, block: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens, with those of the active ones renewed."""
        if self.active is not None:
            at = self.active[:, None, :, None].expand(-1, k.shape[1], -1, k.shape[3])
            k, v = (old.scatter(2, at, new) for old, new in zip(self.kept[block], (k, v), strict=True))
        self.kept[block] = (k, v)
        return k, v

    def answer(self, out: Tensor) -> Tensor:
        """The answer of all tokens."""
        if self.active is not None and self.said is not None:
            out = self.said.scatter(1, self.active[:, :, None].expand(-1, -1, out.shape[2]), out)
        self.said = out
        return out


class Block(nn.Module):
    """Attention and a feed-forward layer over tokens."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attn, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.told = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, h: Tensor, embedding: Tensor, tokens: Tokens | None = None, number: int = 0) -> Tensor:
        """h [B, n, W], embedding [B, W] -> [B, n, W]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.told(embedding)[:, None].chunk(6, -1)
        n = functional.layer_norm(h, h.shape[-1:]) * (1 + scale1) + shift1
        q, k, v = self.attn(n).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        k, v = (k, v) if tokens is None else tokens.join(number, k, v)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h + gate1 * self.join(mixed)
        return h + gate2 * self.mlp(functional.layer_norm(h, h.shape[-1:]) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """``net(x, t, label)`` for square images.

    Parameters
    ----------
    channels, size, patch
        Of the images, in pixels; pixels per side of a token.
    labels
        Classes; the label after the last is none.
    depth, width, heads
        Of the transformer.

    Raises
    ------
    UsageError
        If the size is no multiple of the patch, or the width none of the heads and of 2.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        size: int = 16,
        patch: int = 2,
        labels: int = 4,
        depth: int = 8,
        width: int = 64,
        heads: int = 4,
    ):
        super().__init__()
        if size % patch or width % heads or width % 2:
            raise UsageError(f"sizes do not divide: {size=} by {patch=}, {width=} by {heads=} and 2")
        self.size, self.patch = size, patch
        self.enter = nn.Linear(channels * patch * patch, width)
        self.place = nn.Parameter(torch.randn(1, (size // patch) ** 2, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(labels + 1, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.leave = nn.Linear(width, channels * patch * patch)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, label: Tensor, tokens: Tokens | None = None) -> Tensor:
        """Map images to images.

        Parameters
        ----------
        x
            [B, channels, size, size].
        t
            [B], of size one.
        label
            Classes, int64 [B].
        tokens
            Which tokens are computed, and memory for the others; changed by the call.

        Returns
        -------
        Tensor
            Shaped like x.

        Raises
        ------
        UsageError
            If the first call with `tokens` does not compute all of them.
        """
        half = self.leave.in_features // 2
        angles = 1000 * t.to(x.dtype)[:, None] * torch.exp(-math.log(1e4) * torch.arange(half, device=x.device) / half)
        embedding = functional.silu(self.time(torch.cat([angles.sin(), angles.cos()], 1)) + self.label(label))
        h = self.enter(functional.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)) + self.place
        if tokens is not None and tokens.active is not None:
            if tokens.said is None:
                raise UsageError("the first call computes all tokens: set active to None")
            h = h.gather(1, tokens.active[:, :, None].expand(-1, -1, h.shape[2]))
        for number, block in enumerate(self.blocks):
            h = block(h, embedding) if tokens is None else block(h, embedding, tokens, number)
        out = self.leave(functional.layer_norm(h, h.shape[-1:]))
        out = (out if tokens is None else tokens.answer(out)).transpose(1, 2)
        side = self.size // self.patch
        return functional.pixel_shuffle(out.unflatten(-1, (side, side)), self.patch)
