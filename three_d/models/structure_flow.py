"""The first stage: a flow over latents of coarse occupancy, in the shape of TRELLIS' (arXiv:2412.01506, section 3.3).

Letters: B batch, C channels, R latents per axis, p latents per axis of a token, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError
from fewstep.three_d.models.blocks import Block, TimeEmbedding, placed, plain_norm, start


class StructureFlow(nn.Module):
    """``net(x, t, cond) -> velocity`` on a dense grid.

    Parameters
    ----------
    resolution, in_channels, out_channels
        R, and C of what goes in and comes out.
    model_channels, cond_channels, num_blocks, num_heads, mlp_ratio
        W, width of the condition's tokens, and of the transformer.
    patch_size
        p.
    qk_rms_norm, qk_rms_norm_cross, share_mod
        See `fewstep.three_d.models.blocks.Block`.

    Raises
    ------
    UsageError
        If the patch does not divide the resolution.
    """

    def __init__(
        self,
        *,
        resolution: int = 4,
        in_channels: int = 8,
        out_channels: int = 8,
        model_channels: int = 128,
        cond_channels: int = 128,
        num_blocks: int = 5,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        patch_size: int = 1,
        qk_rms_norm: bool = True,
        qk_rms_norm_cross: bool = False,
        share_mod: bool = False,
    ):
        super().__init__()
        if resolution % patch_size:
            raise UsageError(f"resolution {resolution} is no multiple of patch_size {patch_size}")
        self.resolution, self.patch_size, self.out_channels = resolution, patch_size, out_channels
        self.t_embedder = TimeEmbedding(model_channels)
        self.share_mod = share_mod
        if share_mod:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(model_channels, 6 * model_channels))
        side = torch.arange(resolution // patch_size)
        coords = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
        self.register_buffer("pos_emb", placed(coords, model_channels))
        self.input_layer = nn.Linear(in_channels * patch_size**3, model_channels)
        options = {"mlp_ratio": mlp_ratio, "qk_rms_norm": qk_rms_norm, "qk_rms_norm_cross": qk_rms_norm_cross}
        self.blocks = nn.ModuleList(
            [Block(model_channels, cond_channels, num_heads, share_mod=share_mod, **options) for _ in range(num_blocks)]
        )
        self.out_layer = nn.Linear(model_channels, out_channels * patch_size**3)
        start(self)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Velocity.

        Parameters
        ----------
        x
            [B, C, R, R, R].
        t
            [B], of size one.
        cond
            Tokens, [B, L, D].

        Returns
        -------
        Tensor
            [B, out_channels, R, R, R].
        """
        n, p = self.resolution // self.patch_size, self.patch_size
        h = x.reshape(len(x), -1, n, p, n, p, n, p).permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        h = self.input_layer(h) + self.pos_emb.to(x.dtype)
        told = self.t_embedder(t)
        told = self.adaLN_modulation(told) if self.share_mod else told
        for block in self.blocks:
            h = block(h, told, cond)
        out = self.out_layer(plain_norm(h))
        out = out.reshape(len(x), n, n, n, -1, p, p, p).permute(0, 4, 1, 5, 2, 6, 3, 7)
        return out.reshape(len(x), self.out_channels, *[self.resolution] * 3)
