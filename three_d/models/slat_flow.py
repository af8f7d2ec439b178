"""The second stage: a flow over one latent per active cell, in the shape of TRELLIS' (arXiv:2412.01506, section 3.3).

Letters: B batch, N cells (padded), C channels, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from fewstep.three_d.models.blocks import Block, TimeEmbedding, placed, plain_norm, start


class SlatFlow(nn.Module):
    """``net(x, t, cond, coords, mask) -> velocity`` on active cells."""

    def __init__(
        self,
        *,
        resolution: int = 12,
        in_channels: int = 16,
        out_channels: int = 16,
        model_channels: int = 128,
        cond_channels: int = 128,
        num_blocks: int = 5,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        qk_rms_norm: bool = True,
        qk_rms_norm_cross: bool = False,
        share_mod: bool = False,
    ):
        super().__init__()
        self.resolution, self.model_channels = resolution, model_channels
        self.t_embedder = TimeEmbedding(model_channels)
        self.share_mod = share_mod
        if share_mod:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(model_channels, 6 * model_channels))
        self.input_layer = nn.Linear(in_channels, model_channels)
        options = {"mlp_ratio": mlp_ratio, "qk_rms_norm": qk_rms_norm, "qk_rms_norm_cross": qk_rms_norm_cross}
        self.blocks = nn.ModuleList(
            [Block(model_channels, cond_channels, num_heads, share_mod=share_mod, **options) for _ in range(num_blocks)]
        )
        self.out_layer = nn.Linear(model_channels, out_channels)
        start(self)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor, coords: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, C], t [B], cond [B, L, D], coords int64 [B, N, 3], mask bool [B, N] -> [B, N, C], padding 0."""
        h = self.input_layer(x) + placed(coords, self.model_channels).to(x.dtype)
        told = self.t_embedder(t)
        told = self.adaLN_modulation(told) if self.share_mod else told
        for block in self.blocks:
            h = block(h, told, cond, mask)
        return self.out_layer(plain_norm(h)) * mask[..., None]
