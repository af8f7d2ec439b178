"""TRELLIS' autoencoder of occupancy: 64^3 voxels to 16^3 latents of 8 channels, and back to logits (arXiv:2412.01506).

Names of parameters are those of the official checkpoints (microsoft/TRELLIS, MIT). A voxel is full where its logit is
above 0. Our own small autoencoder of a shape's structure is `fewstep.three_d.models.structure_vae`.

Letters: B batch, C channels, R voxels per axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.three_d.models.attention import single


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each voxel, in single precision at least."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, R, R, R]."""
        return super().forward(single(x.movedim(1, -1))).to(x.dtype).movedim(-1, 1)


class GroupNorm(nn.GroupNorm):
    """Of 32 groups, in single precision at least."""

    def __init__(self, channels: int):
        super().__init__(32, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, R, R, R]."""
        return super().forward(single(x)).to(x.dtype)


class ResBlock(nn.Module):
    """Two convolutions beside a skip; the second starts at 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1, self.conv2 = (nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, R, R, R]."""
        return x + self.conv2(functional.silu(self.norm2(self.conv1(functional.silu(self.norm1(x))))))


class Halve(nn.Module):
    """A convolution over 2^3 voxels at a time."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv3d(channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, R, R, R] -> [B, out, R/2, R/2, R/2]."""
        return self.conv(x)


class Double(nn.Module):
    """A convolution to eight times the channels, which become 2^3 voxels."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv3d(channels, 8 * out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, R, R, R] -> [B, out, 2 R, 2 R, 2 R]."""
        x = self.conv(x).unflatten(1, (-1, 2, 2, 2)).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.flatten(6).flatten(4, 5).flatten(2, 3)


def _levels(channels: Sequence[int], num_res_blocks: int, step: type[Halve] | type[Double]) -> nn.ModuleList:
    parts: list[nn.Module] = []
    for number, width in enumerate(channels):
        parts += [ResBlock(width) for _ in range(num_res_blocks)]
        parts += [step(width, channels[number + 1])] if number + 1 < len(channels) else []
    return nn.ModuleList(parts)


def _end(norm_type: str, channels: int, out_channels: int) -> nn.Sequential:
    norms = {"layer": ChannelNorm, "group": GroupNorm}
    if norm_type not in norms:
        raise UsageError(f"expected norm_type 'layer' or 'group', got {norm_type!r}")
    return nn.Sequential(norms[norm_type](channels), nn.SiLU(), nn.Conv3d(channels, out_channels, 3, padding=1))


class StructureEncoder(nn.Module):
    """Occupancy to the mean of its latents.

    Parameters
    ----------
    in_channels, latent_channels
        C of what goes in, and of the latents.
    num_res_blocks, num_res_blocks_middle
        Residual blocks per level, and after the last.
    channels
        Widths, finest level first.
    norm_type
        Of the last norm: `layer` or `group`.

    Raises
    ------
    UsageError
        If `norm_type` is unknown.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        latent_channels: int = 8,
        num_res_blocks: int = 2,
        channels: Sequence[int] = (32, 128, 512),
        num_res_blocks_middle: int = 2,
        norm_type: str = "layer",
    ):
        super().__init__()
        self.input_layer = nn.Conv3d(in_channels, channels[0], 3, padding=1)
        self.blocks = _levels(channels, num_res_blocks, Halve)
        self.middle_block = nn.Sequential(*[ResBlock(channels[-1]) for _ in range(num_res_blocks_middle)])
        self.out_layer = _end(norm_type, channels[-1], 2 * latent_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance.

        Parameters
        ----------
        x
            [B, C, R, R, R], 1 where a voxel is full.

        Returns
        -------
        tuple of Tensor
            [B, latent_channels, r, r, r] each, r = R / 2^(levels − 1).
        """
        h = self.input_layer(x)
        for block in self.blocks:
            h = block(h)
        mean, logvar = self.out_layer(self.middle_block(h)).chunk(2, 1)
        return mean, logvar


class StructureDecoder(nn.Module):
    """Latents to logits of occupancy.

    Parameters
    ----------
    out_channels, latent_channels, num_res_blocks, num_res_blocks_middle, norm_type
        As in `StructureEncoder`.
    channels
        Widths, coarsest level first.

    Raises
    ------
    UsageError
        If `norm_type` is unknown.
    """

    def __init__(
        self,
        *,
        out_channels: int = 1,
        latent_channels: int = 8,
        num_res_blocks: int = 2,
        channels: Sequence[int] = (512, 128, 32),
        num_res_blocks_middle: int = 2,
        norm_type: str = "layer",
    ):
        super().__init__()
        self.input_layer = nn.Conv3d(latent_channels, channels[0], 3, padding=1)
        self.middle_block = nn.Sequential(*[ResBlock(channels[0]) for _ in range(num_res_blocks_middle)])
        self.blocks = _levels(channels, num_res_blocks, Double)
        self.out_layer = _end(norm_type, channels[-1], out_channels)

    def forward(self, z: Tensor) -> Tensor:
        """Logits; above 0 a voxel is full.

        Parameters
        ----------
        z
            [B, latent_channels, r, r, r].

        Returns
        -------
        Tensor
            [B, out_channels, R, R, R].
        """
        h = self.middle_block(self.input_layer(z))
        for block in self.blocks:
            h = block(h)
        return self.out_layer(h)
