"""The block of TRELLIS' flows: modulated self-attention, cross-attention to the condition, modulated feed-forward.

Names of parameters are those of the official checkpoints (Xiang et al. 2024, arXiv:2412.01506; microsoft/TRELLIS, MIT).

Letters: B batch, N tokens, L tokens of the condition, W width, K heads.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.three_d.models.attention import CrossAttention, Keys, SelfAttention, placed, single

__all__ = ["Block", "FeedForward", "TimeEmbedding", "Trunk", "placed", "plain_norm", "start"]


class FeedForward(nn.Module):
    """Two layers with GELU between."""

    def __init__(self, channels: int, mlp_ratio: float):
        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, channels)
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        """h [B, N, W] -> the same shape."""
        return self.mlp(h)


class Block(nn.Module):
    """One block.

    Parameters
    ----------
    channels, cond_channels, heads
        W, D, K.
    mlp_ratio
        Width of the feed-forward layer over W.
    qk_rms_norm, qk_rms_norm_cross
        Norm of queries and keys, of each attention.
    share_mod
        The modulation is handed in ready, [B, 6 W], instead of the time's embedding, [B, W].
    block_mod
        With `share_mod`: what is handed in is shifted by a parameter of the block's own, as in TRELLIS.2.
    """

    def __init__(
        self,
        channels: int,
        cond_channels: int,
        heads: int,
        *,
        mlp_ratio: float = 4.0,
        qk_rms_norm: bool = False,
        qk_rms_norm_cross: bool = False,
        share_mod: bool = False,
        block_mod: bool = True,
    ):
        super().__init__()
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.self_attn = SelfAttention(channels, heads, qk_rms_norm=qk_rms_norm)
        self.cross_attn = CrossAttention(channels, cond_channels, heads, qk_rms_norm=qk_rms_norm_cross)
        self.mlp = FeedForward(channels, mlp_ratio)
        self.adaLN_modulation = None if share_mod else nn.Sequential(nn.SiLU(), nn.Linear(channels, 6 * channels))
        own = share_mod and block_mod
        self.modulation = nn.Parameter(torch.randn(6 * channels) / channels**0.5) if own else None

    def told(self, embedding: Tensor) -> Tensor:
        """What an embedding [B, W] or a shared modulation [B, 6 W] says to this block, [B, 6 W]."""
        if self.adaLN_modulation is not None:
            return self.adaLN_modulation(embedding)
        return embedding if self.modulation is None else embedding + self.modulation.to(embedding.dtype)

    def forward(
        self, h: Tensor, told: Tensor, keys: Keys, mask: Tensor | None = None, turns: Tensor | None = None
    ) -> Tensor:
        """h [B, N, W], told [B, 6 W], keys of the condition, mask bool [B, N], turns: see `SelfAttention`."""
        shift1, scale1, gate1, shift2, scale2, gate2 = told[:, None].chunk(6, -1)
        h = h + gate1 * self.self_attn(plain_norm(h) * (1 + scale1) + shift1, mask, turns)
        h = h + self.cross_attn(self.norm2(h), keys)
        return h + gate2 * self.mlp(plain_norm(h) * (1 + scale2) + shift2)


class Trunk(nn.Module):
    """What both flows share: time, blocks, and their memories of a condition. A base class.

    Parameters
    ----------
    model_channels, cond_channels, num_blocks, num_heads
        W, D, number of blocks, K.
    mlp_ratio, qk_rms_norm, qk_rms_norm_cross, share_mod, block_mod
        See `Block`.

    Raises
    ------
    UsageError
        If the heads do not divide the width.
    """

    def __init__(
        self,
        *,
        model_channels: int,
        cond_channels: int,
        num_blocks: int,
        num_heads: int,
        share_mod: bool,
        **options: float,
    ):
        super().__init__()
        if model_channels % num_heads:
            raise UsageError(f"num_heads {num_heads} does not divide model_channels {model_channels}")
        self.t_embedder = TimeEmbedding(model_channels)
        self.share_mod, self.model_channels = share_mod, model_channels
        if share_mod:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(model_channels, 6 * model_channels))
        self.blocks = nn.ModuleList(
            [Block(model_channels, cond_channels, num_heads, share_mod=share_mod, **options) for _ in range(num_blocks)]
        )

    def keys(self, cond: Tensor) -> list[Keys]:
        """Keys and values of a condition [B, L, D] in each block, made once for many steps; `forward` takes them."""
        return [block.cross_attn.keys(cond) for block in self.blocks]

    def through(
        self,
        h: Tensor,
        embedding: Tensor,
        cond: Tensor | list[Keys],
        mask: Tensor | None = None,
        turns: Tensor | None = None,
    ) -> Tensor:
        """h [B, N, W] and the time's embedding [B, W] through all blocks."""
        told = self.adaLN_modulation(embedding) if self.share_mod else embedding
        for number, block in enumerate(self.blocks):
            keys = block.cross_attn.keys(cond) if isinstance(cond, Tensor) else cond[number]
            h = block(h, block.told(told), keys, mask, turns)
        return h

    def deepen(self) -> None:
        """Put after each block a copy of it that adds nothing: twice as many blocks, the same answers."""
        deeper: list[nn.Module] = []
        for block in self.blocks:
            twin = copy.deepcopy(block)
            for layer in (twin.self_attn.to_out, twin.cross_attn.to_out, twin.mlp.mlp[-1]):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            deeper += [block, twin]
        self.blocks = nn.ModuleList(deeper)


class TimeEmbedding(nn.Module):
    """Times of size one -> [B, W]; cosines before sines, of 1000 t."""

    def __init__(self, channels: int, *, waves: int = 256):
        super().__init__()
        self.waves = waves
        self.mlp = nn.Sequential(nn.Linear(waves, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, t: Tensor) -> Tensor:
        """t [B]."""
        half = self.waves // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angles = (1000 * t[:, None]).float() * rates
        return self.mlp(torch.cat([angles.cos(), angles.sin()], 1).to(self.mlp[0].weight.dtype))


def plain_norm(h: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Layer norm without gain and shift, in single precision at least."""
    return functional.layer_norm(single(h), h.shape[-1:], eps=eps).to(h.dtype)


def start(net: nn.Module) -> None:
    """Xavier for all layers, small time layers, zero modulation and answer, so that the first answer is 0."""
    for part in net.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    for name, value in net.named_parameters():
        if "adaLN_modulation" in name or name.startswith("out_layer"):
            nn.init.zeros_(value)
        elif name in ("t_embedder.mlp.0.weight", "t_embedder.mlp.2.weight"):
            nn.init.normal_(value, std=0.02)
