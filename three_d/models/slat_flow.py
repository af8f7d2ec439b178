"""The second stage: a flow over one latent per active cell, in the shape of TRELLIS' (arXiv:2412.01506, section 3.3).

Times and guidance: see `fewstep.three_d.models.structure_flow`.

Letters: B batch, N cells (padded), T cells of all items together, C channels, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError
from fewstep.three_d.models.attention import Keys, placed, rotations
from fewstep.three_d.models.blocks import Trunk, plain_norm, start
from fewstep.three_d.models.sparse import Cells, SparseResBlock, pooled


class SlatFlow(Trunk):
    """``net(x, t, cond, coords, mask) -> velocity`` on active cells.

    Parameters
    ----------
    resolution, in_channels, out_channels
        Cells per axis, and C of what goes in and comes out.
    model_channels, cond_channels, num_blocks, num_heads, mlp_ratio
        W, width of the condition's tokens, and of the transformer.
    patch_size, io_block_channels, num_io_res_blocks
        Cells per axis of a token, 2 to the number of `io_block_channels`: widths of the stages of convolutions that
        lead to tokens and back, and blocks per stage. Default: a token per cell and no convolution.
    use_skip_connection
        Whether stages on the way back see those on the way in.
    pe_mode
        `ape` or `rope`, as in `StructureFlow`.
    qk_rms_norm, qk_rms_norm_cross, share_mod, block_mod
        See `fewstep.three_d.models.blocks.Block`.

    Raises
    ------
    UsageError
        If the patch does not fit the stages, or `pe_mode` is unknown.
    """

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
        patch_size: int = 1,
        io_block_channels: Sequence[int] | None = None,
        num_io_res_blocks: int = 2,
        use_skip_connection: bool = True,
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
        stages = list(io_block_channels or ())
        if patch_size != 2 ** len(stages):
            raise UsageError(f"patch_size {patch_size} needs {patch_size} = 2^n with n io_block_channels, got {stages}")
        if pe_mode not in ("ape", "rope"):
            raise UsageError(f"expected pe_mode 'ape' or 'rope', got {pe_mode!r}")
        self.resolution, self.pe_mode, self.head_channels = resolution, pe_mode, model_channels // num_heads
        self.skips, self.per_stage = use_skip_connection, num_io_res_blocks
        self.input_layer = nn.Linear(in_channels, (stages or [model_channels])[0])
        self.input_blocks, self.out_blocks = nn.ModuleList(), nn.ModuleList()
        again, w = 2 if use_skip_connection else 1, model_channels
        for wide, wider in zip(stages, [*stages, w][1:], strict=True):
            plain = [SparseResBlock(wide, w, wide) for _ in range(num_io_res_blocks - 1)]
            self.input_blocks.extend([*plain, SparseResBlock(wide, w, wider)])
        for wide, wider in zip(reversed(stages), [w, *stages[:0:-1]][: len(stages)], strict=True):
            plain = [SparseResBlock(again * wide, w, wide) for _ in range(num_io_res_blocks - 1)]
            self.out_blocks.extend([SparseResBlock(again * wider, w, wide), *plain])
        self.out_layer = nn.Linear((stages or [model_channels])[0], out_channels)
        start(self)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | list[Keys], coords: Tensor, mask: Tensor) -> Tensor:
        """Velocity.

        Parameters
        ----------
        x
            [B, N, C].
        t
            [B], of size one.
        cond
            Tokens, [B, L, D], or what `keys` makes of them.
        coords, mask
            int64 [B, N, 3], and bool [B, N], false where a cell is padding.

        Returns
        -------
        Tensor
            [B, N, out_channels], 0 where there is padding, whatever `x` is there.
        """
        x = torch.where(mask[..., None], x, 0)
        embedding = self.t_embedder(t)
        if not len(self.input_blocks):
            h = self._tokens(self.input_layer(x), embedding, cond, coords, mask)
            return self.out_layer(plain_norm(h, eps=1e-5)) * mask[..., None]
        packed = self._convolved(x[mask], embedding, cond, Cells.of(coords, mask), len(x))
        return packed.new_zeros(*mask.shape, packed.shape[1]).index_put((mask,), packed)

    def _tokens(self, h: Tensor, embedding: Tensor, cond: Tensor | list[Keys], coords: Tensor, mask: Tensor) -> Tensor:
        if self.pe_mode == "ape":
            return self.through(h + placed(coords, self.model_channels).to(h.dtype), embedding, cond, mask)
        return self.through(h, embedding, cond, mask, rotations(coords, self.head_channels))

    def _convolved(self, h: Tensor, embedding: Tensor, cond: Tensor | list[Keys], cells: Cells, batch: int) -> Tensor:
        """[T, C] through the stages, the tokens, and the stages back."""
        h, levels, parents, seen = self.input_layer(h), [cells], [], []
        for number, block in enumerate(self.input_blocks, 1):
            if number % self.per_stage == 0:
                coarse, parent = levels[-1].halved()
                h = pooled(h, parent, len(coarse.item))
                levels.append(coarse)
                parents.append(parent)
            h = block(h, embedding, levels[-1])
            seen.append(h)
        tokens, mask = levels[-1].padded(h, batch)
        coords, _ = levels[-1].padded(levels[-1].coords, batch)
        h = self._tokens(tokens, embedding, cond, coords, mask)[mask]
        for number, block in enumerate(self.out_blocks):
            h = torch.cat([h, seen.pop()], 1) if self.skips else h
            if number % self.per_stage == 0:
                levels.pop()
                h = h[parents.pop()]
            h = block(h, embedding, levels[-1])
        return self.out_layer(plain_norm(h, eps=1e-5))
