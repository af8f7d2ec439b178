"""A variational autoencoder of coarse occupancy: which cells a surface touches, as latents on a coarser grid.

The place of TRELLIS' sparse-structure VAE (Xiang et al. 2024, arXiv:2412.01506, section 3.2), with a transformer over
patches instead of convolutions over voxels: on a CPU, matrix products run several times as fast as 3D convolutions.

Letters: B batch, R cells per axis, p cells per axis of a patch, C latent channels, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError
from fewstep.three_d.models.transformer import TransformerBlock


class StructureVae(nn.Module):
    """Occupancy [B, 1, R, R, R] <-> latents [B, C, R/p, R/p, R/p].

    Parameters
    ----------
    resolution
        R.
    patch
        p.
    latent
        C.
    channels, heads
        W, and attention heads.
    encoder_blocks, decoder_blocks
        Transformer blocks of each side.

    Raises
    ------
    UsageError
        If the patch does not divide the resolution.
    """

    def __init__(
        self,
        *,
        resolution: int = 12,
        patch: int = 3,
        latent: int = 8,
        channels: int = 128,
        heads: int = 4,
        encoder_blocks: int = 2,
        decoder_blocks: int = 3,
    ):
        super().__init__()
        if resolution % patch:
            raise UsageError(f"resolution {resolution} is no multiple of patch {patch}")
        self.resolution, self.patch, self.latent = resolution, patch, latent
        self.side = resolution // patch
        tokens = self.side**3
        self.enter = nn.Linear(patch**3, channels)
        self.place = nn.Parameter(torch.randn(1, tokens, channels) * 0.02)
        self.encoder = nn.ModuleList([TransformerBlock(channels, heads) for _ in range(encoder_blocks)])
        self.moments = nn.Linear(channels, 2 * latent)
        self.back = nn.Linear(latent, channels)
        self.place_back = nn.Parameter(torch.randn(1, tokens, channels) * 0.02)
        self.decoder = nn.ModuleList([TransformerBlock(channels, heads) for _ in range(decoder_blocks)])
        self.norm = nn.LayerNorm(channels)
        self.leave = nn.Linear(channels, patch**3)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))

    def encode(self, occupancy: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, each [B, C, R/p, R/p, R/p], before `normalised`.

        Parameters
        ----------
        occupancy
            Zeros and ones, floating point [B, 1, R, R, R].
        """
        h = self.enter(2 * self._patches(occupancy) - 1) + self.place
        for block in self.encoder:
            h = block(h)
        mean, logvar = self.moments(h).transpose(1, 2).unflatten(2, [self.side] * 3).chunk(2, 1)
        return mean, logvar.clamp(-20, 10)

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the cells, [B, 1, R, R, R]; a positive one is active.

        Parameters
        ----------
        z
            Latents as `encode` gives them, [B, C, R/p, R/p, R/p].
        """
        h = self.back(z.flatten(2).transpose(1, 2)) + self.place_back
        for block in self.decoder:
            h = block(h)
        return self._cells(self.leave(self.norm(h)))

    def normalised(self, z: Tensor) -> Tensor:
        """Latents as the flow sees them: mean 0 and deviation 1 per channel over the training data."""
        return (z - self._like(self.mean, z)) / self._like(self.std, z)

    def restored(self, z: Tensor) -> Tensor:
        """The inverse of `normalised`."""
        return z * self._like(self.std, z) + self._like(self.mean, z)

    @staticmethod
    def _like(value: Tensor, z: Tensor) -> Tensor:
        return value.to(z)[None, :, None, None, None]

    def _patches(self, cells: Tensor) -> Tensor:
        n, p = self.side, self.patch
        return cells.reshape(-1, n, p, n, p, n, p).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, n**3, p**3)

    def _cells(self, patches: Tensor) -> Tensor:
        n, p, r = self.side, self.patch, self.resolution
        return patches.reshape(-1, n, n, n, p, p, p).permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, 1, r, r, r)
