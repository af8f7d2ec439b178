"""The first stage: a flow over latents of coarse occupancy, in the shape of TRELLIS' (arXiv:2412.01506, section 3.3).

The official times are 1000 times ours, its guidance strength is ours less 1: (1 + w) c − w u there, u + w (c − u) here.

Letters: B batch, C channels, R latents per axis, p latents per axis of a token, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError
from fewstep.three_d.models.attention import Keys, placed, rotations
from fewstep.three_d.models.blocks import Trunk, plain_norm, start


class StructureFlow(Trunk):
    """``net(x, t, cond) -> velocity`` on a dense grid.

    Parameters
    ----------
    resolution, in_channels, out_channels
        R, and C of what goes in and comes out.
    model_channels, cond_channels, num_blocks, num_heads, mlp_ratio
        W, width of the condition's tokens, and of the transformer.
    patch_size
        p.
    pe_mode
        Places of tokens: `ape` adds sines to them, `rope` turns queries and keys (TRELLIS.2).
    qk_rms_norm, qk_rms_norm_cross, share_mod, block_mod
        See `fewstep.three_d.models.blocks.Block`.

    Raises
    ------
    UsageError
        If the patch does not divide the resolution, the heads do not divide the width, or `pe_mode` is unknown.
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
        pe_mode: str = "ape",
        qk_rms_norm: bool = True,
        qk_rms_norm_cross: bool = False,
        share_mod: bool = False,
        block_mod: bool = True,
    ):
        super().__init__(
            model_channels=model_channels, cond_channels=cond_channels, num_blocks=num_blocks, num_heads=num_heads,
            mlp_ratio=mlp_ratio, qk_rms_norm=qk_rms_norm, qk_rms_norm_cross=qk_rms_norm_cross, share_mod=share_mod,
            block_mod=block_mod,
        )  # fmt: skip
        if resolution % patch_size:
            raise UsageError(f"resolution {resolution} is no multiple of patch_size {patch_size}")
        if pe_mode not in ("ape", "rope"):
            raise UsageError(f"expected pe_mode 'ape' or 'rope', got {pe_mode!r}")
        self.resolution, self.patch_size = resolution, patch_size
        self.in_channels, self.out_channels = in_channels, out_channels
        side = torch.arange(resolution // patch_size)
        coords = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
        ape = pe_mode == "ape"
        self.register_buffer("pos_emb", placed(coords, model_channels) if ape else None)
        self.register_buffer("turns", None if ape else rotations(coords, model_channels // num_heads), persistent=False)
        self.input_layer = nn.Linear(in_channels * patch_size**3, model_channels)
        self.out_layer = nn.Linear(model_channels, out_channels * patch_size**3)
        start(self)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | list[Keys]) -> Tensor:
        """Velocity.

        Parameters
        ----------
        x
            [B, C, R, R, R].
        t
            [B], of size one.
        cond
            Tokens, [B, L, D], or what `keys` makes of them.

        Returns
        -------
        Tensor
            [B, out_channels, R, R, R].

        Raises
        ------
        UsageError
            If `x` is of another shape.
        """
        if x.shape[1:] != (self.in_channels, *[self.resolution] * 3):
            expected = (self.in_channels, *[self.resolution] * 3)
            raise UsageError(f"expected latents [batch, {', '.join(map(str, expected))}], got {list(x.shape)}")
        n, p = self.resolution // self.patch_size, self.patch_size
        h = x.reshape(len(x), -1, n, p, n, p, n, p).permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        h = self.input_layer(h)
        h = h if self.pos_emb is None else h + self.pos_emb.to(h.dtype)
        h = self.through(h, self.t_embedder(t), cond, turns=self.turns)
        out = self.out_layer(plain_norm(h, eps=1e-5))
        out = out.reshape(len(x), n, n, n, -1, p, p, p).permute(0, 4, 1, 5, 2, 6, 3, 7)
        return out.reshape(len(x), self.out_channels, *[self.resolution] * 3)
