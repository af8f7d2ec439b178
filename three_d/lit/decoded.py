"""How far two latents are from each other: as numbers, and as what the autoencoder makes of them.

A distance in latents alone blurs what the decoder thresholds. Distillation through a frozen decoder: StyleTTS-ZS (Li et
al. 2024, arXiv:2409.10058) does so for speech.

cells:     a |z − z'|' + b cross-entropy of the cells, against the other's own chances
surfaces:  a |z − z'|' + b |sdf − sdf'| + c |colour − colour'| near the other's surface

with |d|' = sqrt(mean d² + 1e-3), which is linear for large differences. For `fewstep.core.distill.reflow.Ends`.
`CellFeatures` are what the energy score and drifting (`fewstep.core.distill`) measure on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from fewstep.core.distill.distance import mean, mse
from fewstep.core.errors import UsageError
from fewstep.three_d.pretrained import autoencoder


class DecodedCells:
    """For latents of the first stage.

    Parameters
    ----------
    vae
        What `fewstep.three_d.pretrained.autoencoder` takes.
    latent, cells
        a and b.
    """

    def __init__(self, vae: str = "shapes-vae", *, latent: float = 0.3, cells: float = 3.0):
        self.net: Any = autoencoder(vae, "structure").requires_grad_(False)
        self.latent, self.cells = latent, cells

    def __call__(self, answer: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, C, r, r, r] twice -> [B]."""
        net = self.net.to(answer.device)
        with torch.no_grad():
            chance = net.decode(net.restored(target)).sigmoid()
        logits = net.decode(net.restored(answer))
        entropy = functional.binary_cross_entropy_with_logits(logits, chance, reduction="none")
        return self.latent * _blunt(answer, target, mask) + self.cells * mean(entropy)


class CellFeatures:
    """Of latents of the first stage: the cells' chances at several scales, and themselves.

    Parameters
    ----------
    vae
        What `fewstep.three_d.pretrained.autoencoder` takes.
    latent, cells
        Factors of a root mean square of the latents, and of a root of the sum over cells; 0 leaves out the latents.
    scales
        Cells per axis that are averaged; a sum over blocks of k³ cells counts k^1.5 times its square.
    moved
        Factor of the latents in what drifting moves, where that of chances is `cells`.
    """

    def __init__(
        self,
        vae: str = "shapes-vae",
        *,
        latent: float = 0.3,
        cells: float = 0.1,
        scales: Sequence[int] = (1, 2, 4),
        moved: float = 2.4,
    ):
        self.net: Any = autoencoder(vae, "structure").requires_grad_(False)
        self.latent, self.cells, self.scales, self.moved = latent, cells, tuple(scales), moved

    def __call__(self, x: Tensor) -> list[Tensor]:
        """[B, C, r, r, r] -> [B, 1, R/k, R/k, R/k] for each scale k and [B, C, r, r, r]."""
        return self._seen(x, self._fields(self._logits(x).sigmoid()))

    def carried(self, x: Tensor) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """For `fewstep.core.distill.drifting.Drifting`: chances are moved by their logits, and latents."""
        logits = self._logits(x)
        fields = self._fields(logits.sigmoid())
        latents = x * (self.moved / x[0].numel() ** 0.5)
        return self._seen(x, fields), [*zip(fields, self._fields(logits), strict=True), (latents, latents)]

    def _seen(self, x: Tensor, fields: list[Tensor]) -> list[Tensor]:
        return [*fields, x * (self.latent / x[0].numel() ** 0.5)] if self.latent else fields

    def _logits(self, x: Tensor) -> Tensor:
        net = self.net.to(x.device)
        return net.decode(net.restored(x))

    def _fields(self, values: Tensor) -> list[Tensor]:
        return [functional.avg_pool3d(values, k) * (self.cells * k**0.75) for k in self.scales]


class DecodedSurfaces:
    """For latents of the second stage; it is told the cells.

    Parameters
    ----------
    vae
        What `fewstep.three_d.pretrained.autoencoder` takes.
    latent, distances, colours
        a, b and c.
    """

    told: ClassVar[bool] = True

    def __init__(self, vae: str = "shapes-vae", *, latent: float = 0.5, distances: float = 4.0, colours: float = 4.0):
        self.net: Any = autoencoder(vae, "slat").requires_grad_(False)
        self.latent, self.distances, self.colours = latent, distances, colours

    def __call__(
        self, answer: Tensor, target: Tensor, mask: Tensor | None = None, cond: Mapping[str, Any] | None = None
    ) -> Tensor:
        """[B, N, C] twice, mask [B, N, 1] -> [B].

        Raises
        ------
        UsageError
            If the cells are not told.
        """
        if cond is None or "coords" not in cond:
            raise UsageError("distances of surfaces need the cells: a batch's cond has 'coords' and 'mask'")
        net, where, there = self.net.to(answer.device), cond["coords"], cond["mask"]
        with torch.no_grad():
            truth, shades = net.decode(net.restored(target), where, there)
            near = (truth.abs() < 0.5) & there[:, :, None]
        sdf, colour = net.decode(net.restored(answer), where, there)
        apart = mean((sdf.clamp(-1.2, 1.2) - truth.clamp(-1.2, 1.2)).abs(), there[:, :, None])
        shade = mean((colour - shades).abs().mean(3), near)
        return self.latent * _blunt(answer, target, mask) + self.distances * apart + self.colours * shade


def _blunt(answer: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    return (mse(answer, target, mask) + 1e-3).sqrt()


__all__ = ["CellFeatures", "DecodedCells", "DecodedSurfaces"]
