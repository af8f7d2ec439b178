"""Attention of TRELLIS' flows: among tokens and to a condition, with normed and rotated queries and keys.

Names of parameters are those of the official checkpoints (Xiang et al. 2024, arXiv:2412.01506; microsoft/TRELLIS and
TRELLIS.2, MIT). Rotation: Su et al. 2021, arXiv:2104.09864, each of three coordinates turning a third of the pairs.

Letters: B batch, N tokens, L tokens of the condition, W width, K heads, d = W / K.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Keys = tuple[Tensor, Tensor]
"""Keys and values of a condition, [B, K, L, d] each."""


class HeadNorm(nn.Module):
    """Root-mean-square norm of each head, with a gain per head and channel."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, K, N, d] -> the same shape and type; single precision at least inside."""
        gain, wide = self.gamma * self.gamma.shape[1] ** 0.5, single(x)
        return (wide * wide.square().sum(-1, keepdim=True).clamp(min=1e-24).rsqrt() * gain[:, None]).to(x.dtype)


class SelfAttention(nn.Module):
    """Among the tokens."""

    def __init__(self, channels: int, heads: int, *, qk_rms_norm: bool):
        super().__init__()
        self.heads = heads
        self.to_qkv, self.to_out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        if qk_rms_norm:
            self.q_rms_norm, self.k_rms_norm = (HeadNorm(channels // heads, heads) for _ in range(2))
        self.normed = qk_rms_norm

    def forward(self, h: Tensor, mask: Tensor | None = None, turns: Tensor | None = None) -> Tensor:
        """h [B, N, W], mask bool [B, N] or None, turns of `rotations` [N, d/2, 2] or [B, N, d/2, 2] or None."""
        q, k, v = self.to_qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.normed:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        if turns is not None:
            q, k = rotated(q, turns), rotated(k, turns)
        return self.to_out(attend(q, k, v, mask).transpose(1, 2).flatten(2))


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

    def keys(self, cond: Tensor) -> Keys:
        """Keys and values of cond [B, L, D], which do not change from step to step."""
        k, v = self.to_kv(cond).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return (self.k_rms_norm(k) if self.normed else k), v

    def forward(self, h: Tensor, keys: Keys) -> Tensor:
        """h [B, N, W], keys of `keys` -> [B, N, W]."""
        q = self.to_q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return self.to_out(attend(self.q_rms_norm(q) if self.normed else q, *keys).transpose(1, 2).flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention over what is not padding.

    FlashAttention's ragged kernel is taken if it is installed and the tensors are half precision on a GPU with padding;
    PyTorch's own kernels otherwise.

    Parameters
    ----------
    q, k, v
        [B, K, N, d], [B, K, L, d], [B, K, L, d].
    mask
        bool [B, L], false where a key is padding; None: none is. For an item of padding alone the answer is finite and
        without meaning.

    Returns
    -------
    Tensor
        [B, K, N, d], of the type of `q`.
    """
    k, v = k.to(q.dtype), v.to(q.dtype)
    if mask is None:
        return functional.scaled_dot_product_attention(q, k, v)
    if q.shape == k.shape and q.is_cuda and q.dtype in (torch.float16, torch.bfloat16) and find_spec("flash_attn"):
        return _ragged(q, k, v, mask)
    seen = mask | ~mask.any(1, keepdim=True)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None, :])


def _ragged(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Self-attention over packed tokens; padding gets 0."""
    from flash_attn import flash_attn_varlen_func

    counts = mask.sum(1, dtype=torch.int32)
    ends = functional.pad(counts.cumsum(0, dtype=torch.int32), (1, 0))
    longest = int(counts.max())
    packed = (part.transpose(1, 2)[mask] for part in (q, k, v))
    mixed: Any = flash_attn_varlen_func(*packed, ends, ends, longest, longest)
    return q.new_zeros(q.transpose(1, 2).shape).index_put((mask,), mixed).transpose(1, 2)


def rotations(coords: Tensor, channels: int) -> Tensor:
    """Cosine and sine for each pair of channels of a head.

    Parameters
    ----------
    coords
        [..., 3].
    channels
        d.

    Returns
    -------
    Tensor
        [..., d/2, 2]; pairs that are left over do not turn.
    """
    n = channels // 6
    angles = (coords[..., None].float() * frequencies(n, coords.device)).flatten(-2)
    angles = functional.pad(angles, (0, channels // 2 - 3 * n))
    return torch.stack([angles.cos(), angles.sin()], -1)


def rotated(x: Tensor, turns: Tensor) -> Tensor:
    """x [B, K, N, d], its pairs of neighbouring channels turned by turns [N, d/2, 2] or [B, N, d/2, 2]."""
    turns = turns[:, None] if turns.ndim == 4 else turns
    pairs = single(x).unflatten(-1, (-1, 2))
    (a, b), (cos, sin) = pairs.unbind(-1), turns.to(pairs.dtype).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


def placed(coords: Tensor, channels: int) -> Tensor:
    """Sines, then cosines, of each of three coordinates, [..., 3] -> [..., channels]; what is left over is 0."""
    angles = coords[..., None].float() * frequencies(channels // 6, coords.device)
    waves = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
    return functional.pad(waves, (0, channels - waves.shape[-1]))


def frequencies(n: int, device: torch.device) -> Tensor:
    """1 / 10000^(i/n), [n]."""
    return 1 / 10_000 ** (torch.arange(n, dtype=torch.float32, device=device) / n)


def single(x: Tensor) -> Tensor:
    """In single precision at least."""
    return x if x.dtype == torch.float64 else x.float()
