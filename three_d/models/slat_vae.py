"""A variational autoencoder of structured latents: what the surface looks like inside each cell that it touches.

As in TRELLIS (Xiang et al. 2024, arXiv:2412.01506, section 3.1) a sparse transformer turns features of active cells
into one latent per cell and back. Here the features are the cell's own samples of signed distance and colour, and so is
the answer, which needs no differentiable renderer to be trained.

Letters: B batch, N cells (padded), b³ samples of a cell, C latent channels, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewstep.three_d.models.attention import placed
from fewstep.three_d.models.transformer import TransformerBlock


class SlatVae(nn.Module):
    """Samples of cells <-> latents [B, N, C].

    Parameters
    ----------
    resolution
        Cells per axis of the grid.
    block
        b, samples per axis of a cell.
    latent
        C.
    channels, heads
        W, and attention heads.
    encoder_blocks, decoder_blocks
        Transformer blocks of each side.
    """

    def __init__(
        self,
        *,
        resolution: int = 12,
        block: int = 5,
        latent: int = 16,
        channels: int = 128,
        heads: int = 4,
        encoder_blocks: int = 2,
        decoder_blocks: int = 3,
    ):
        super().__init__()
        self.resolution, self.block, self.latent, self.channels = resolution, block, latent, channels
        values = 4 * block**3
        self.enter = nn.Linear(values, channels)
        self.encoder = nn.ModuleList([TransformerBlock(channels, heads) for _ in range(encoder_blocks)])
        self.moments = nn.Linear(channels, 2 * latent)
        self.back = nn.Linear(latent, channels)
        self.decoder = nn.ModuleList([TransformerBlock(channels, heads) for _ in range(decoder_blocks)])
        self.norm = nn.LayerNorm(channels)
        self.leave = nn.Linear(channels, values)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))

    def encode(self, sdf: Tensor, colour: Tensor, coords: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, each [B, N, C], before `normalised`; padding holds anything.

        Parameters
        ----------
        sdf
            In units of the lattice's reach, [B, N, b³].
        colour
            sRGB in [0, 1], [B, N, b³, 3].
        coords
            Of the cells, int64 [B, N, 3].
        mask
            False where a cell is padding, bool [B, N].
        """
        h = self.enter(torch.cat([sdf, 2 * colour.flatten(2) - 1], 2)) + self._places(coords, sdf)
        for block in self.encoder:
            h = block(h, mask)
        mean, logvar = self.moments(h).chunk(2, 2)
        return mean, logvar.clamp(-20, 10)

    def decode(self, z: Tensor, coords: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distances [B, N, b³] in units of the reach, and colours [B, N, b³, 3], both of padding too.

        Parameters
        ----------
        z
            Latents as `encode` gives them, [B, N, C].
        coords, mask
            As in `encode`.
        """
        h = self.back(z) + self._places(coords, z)
        for block in self.decoder:
            h = block(h, mask)
        values = self.leave(self.norm(h))
        n = self.block**3
        return values[..., :n], (values[..., n:].unflatten(2, (n, 3)) + 1) / 2

    def normalised(self, z: Tensor) -> Tensor:
        """Latents as the flow sees them: mean 0 and deviation 1 per channel over the training data."""
        return (z - self.mean.to(z)) / self.std.to(z)

    def restored(self, z: Tensor) -> Tensor:
        """The inverse of `normalised`."""
        return z * self.std.to(z) + self.mean.to(z)

    def _places(self, coords: Tensor, like: Tensor) -> Tensor:
        return placed(coords, self.channels).to(like)
