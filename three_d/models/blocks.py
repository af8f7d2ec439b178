"""The block of TRELLIS' flows: modulated self-attention, cross-attention to the condition, modulated feed-forward.

Names of parameters are those of the official checkpoints (Xiang et al. 2024, arXiv:2412.01506; microsoft/TRELLIS, MIT).

Letters: B batch, N tokens, L tokens of the condition, W width, K heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class HeadNorm(nn.Module):
    """Root-mean-square norm of each head, with a gain per head and channel."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, K, N, W/K] -> the same shape."""
        gain = self.gamma * self.gamma.shape[1] ** 0.5
        return (functional.normalize(x.float(), dim=-1) * gain[:, None].float()).to(x.dtype)


class SelfAttention(nn.Module):
    """Among the tokens."""

    def __init__(self, channels: int, heads: int, *, qk_rms_norm: bool):
        super().__init__()
        self.heads = heads
        self.to_qkv, self.to_out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        if qk_rms_norm:
            self.q_rms_norm, self.k_rms_norm = (HeadNorm(channels // heads, heads) for _ in range(2))
        self.normed = qk_rms_norm

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """h [B, N, W], mask bool [B, N] or None."""
        q, k, v = self.to_qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.normed:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        seen = None if mask is None else mask[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(q, k, v.to(q.dtype), attn_mask=seen)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """To the condition."""

    def __init__(self, channels: int, cond_channels: int, heads: int, *, qk_rms_norm: bool):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_kv = nn.Linear(channels, channels), nn.Linear(cond_channels, 2 * channels)
        self.to_out = nn.Linear(channels, channels)
        if qk_rms_norm:
            self.q_rms_norm, self.k_rms_norm = (HeadNorm(channels // heads, heads) for _ in range(2))
        self.normed = qk_rms_norm

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        """h [B, N, W], cond [B, L, D]."""
        q = self.to_q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.to_kv(cond).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.normed:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        mixed = functional.scaled_dot_product_attention(q, k, v.to(q.dtype))
        return self.to_out(mixed.transpose(1, 2).flatten(2))


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
    ):
        super().__init__()
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.self_attn = SelfAttention(channels, heads, qk_rms_norm=qk_rms_norm)
        self.cross_attn = CrossAttention(channels, cond_channels, heads, qk_rms_norm=qk_rms_norm_cross)
        self.mlp = FeedForward(channels, mlp_ratio)
        self.adaLN_modulation = None if share_mod else nn.Sequential(nn.SiLU(), nn.Linear(channels, 6 * channels))

    def forward(self, h: Tensor, embedding: Tensor, cond: Tensor, mask: Tensor | None = None) -> Tensor:
        """h [B, N, W], embedding [B, W] or [B, 6 W], cond [B, L, D], mask bool [B, N] -> [B, N, W]."""
        told = embedding if self.adaLN_modulation is None else self.adaLN_modulation(embedding)
        shift1, scale1, gate1, shift2, scale2, gate2 = told[:, None].chunk(6, -1)
        h = h + gate1 * self.self_attn(plain_norm(h) * (1 + scale1) + shift1, mask)
        h = h + self.cross_attn(self.norm2(h), cond)
        return h + gate2 * self.mlp(plain_norm(h) * (1 + scale2) + shift2)


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
        angles = 1000 * t[:, None].float() * rates
        return self.mlp(torch.cat([angles.cos(), angles.sin()], 1).to(self.mlp[0].weight.dtype))


def plain_norm(h: Tensor) -> Tensor:
    """Layer norm without gain and shift, in single precision at least."""
    return functional.layer_norm(h.float() if h.dtype != torch.float64 else h, h.shape[-1:], eps=1e-6).to(h.dtype)


def placed(coords: Tensor, channels: int) -> Tensor:
    """Sines, then cosines, of each of three coordinates, [..., 3] -> [..., channels]; what is left over is 0."""
    n = channels // 6
    rates = 1 / 10_000 ** (torch.arange(n, dtype=torch.float32, device=coords.device) / n)
    angles = coords[..., None].float() * rates
    waves = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
    return functional.pad(waves, (0, channels - waves.shape[-1]))


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
