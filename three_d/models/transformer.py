"""A plain pre-norm transformer block (Vaswani et al. 2017, arXiv:1706.03762) over padded tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer.

    Parameters
    ----------
    channels, heads
        Width, and attention heads.
    mlp_ratio
        Width of the hidden layer over that of the tokens.
    """

    def __init__(self, channels: int, heads: int, *, mlp_ratio: float = 4.0):
        super().__init__()
        self.heads, hidden = heads, int(channels * mlp_ratio)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, channels)
        )  # fmt: skip

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """h [B, N, W], mask bool [B, N], false where a token is padding and is not attended to -> [B, N, W]."""
        q, k, v = self.qkv(self.norm1(h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = None if mask is None else mask[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        h = h + self.out(mixed.transpose(1, 2).flatten(2))
        return h + self.mlp(self.norm2(h))
