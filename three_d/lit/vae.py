"""Training of the two autoencoders of a shape: coarse occupancy, and what each touched cell holds.

occupancy:  cross-entropy + Dice (Milletari et al. 2016, arXiv:1606.04797) + k KL
cells:      |sdf| error + cross-entropy of the side of the surface + |colour| error near the surface + k KL
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core import rng
from fewstep.core.checkpoint import export, start_from
from fewstep.core.lit.job import job_of
from fewstep.core.lit.muon import built
from fewstep.three_d.pretrained import SLAT_VAE, STRUCTURE_VAE, autoencoder

Batch = Mapping[str, Any]


class VaeModule(pl.LightningModule):
    """What both have in common; which one it is, is read off the batch.

    Parameters
    ----------
    net
        `StructureVae` or `SlatVae`.
    kl
        k, the weight of the mean divergence per latent value.
    optimizer, scheduler
        ``(parameters) -> optimizer``, ``(optimizer) -> scheduler`` stepped after each batch, or None.
    start
        Go on from a trained autoencoder of this kind (a folder, a run, a name), with its decoder alone: the latents
        stay what they are, and so does whatever learnt them.
    seed
        Of the latents' noise.

    Raises
    ------
    UsageError
        If the weights to start from do not fit.
    """

    recipe: Mapping[str, Any] | None = None

    def __init__(
        self,
        net: nn.Module,
        *,
        kl: float = 1e-3,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., Any] | None = None,
        start: str | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.net: Any = net
        self.frozen = start is not None
        if start is not None:
            self._take(start)
        self.kl, self.optimizer, self.scheduler, self.seed = kl, optimizer, scheduler, seed

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler per step if there is one."""
        optimizer = built(self.optimizer, self)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        generator = rng.generator(self.seed, self.current_epoch, batch_idx, self.global_rank)
        parts, divergence, size = self._parts(batch, generator)
        loss = sum(parts.values()) + self.kl * divergence
        self.log_dict({f"train/{k}": v for k, v in parts.items()} | {"train/kl": divergence}, batch_size=size)
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The parts of the loss, and the intersection over union, without the latents' noise."""
        parts, divergence, size = self._parts(batch, None)
        found = {f"val/{k}": v for k, v in parts.items()} | {"val/kl": divergence, "val/iou": self._iou(batch)}
        self.log_dict(found, sync_dist=True, batch_size=size)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def export(self, folder: str | Path, *, recipe: Mapping[str, Any] | None = None) -> Path:
        """Write the net with the statistics of its latents, taken over training batches, beside its config.

        Parameters
        ----------
        folder
            Where to write.
        recipe
            The plain job with ``module.net``; default: the one that `fewstep fit` ran.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        UsageError
            If there is no recipe.
        """
        job = job_of(self, recipe)
        if not self.frozen and self._trainer is not None and self.trainer.datamodule is not None:
            self._measure(self.trainer.datamodule.trained)
        kind = STRUCTURE_VAE if hasattr(self.net, "patch") else SLAT_VAE
        return export(folder, self.net, {"kind": kind, "model": job["module"]["net"]})

    def _take(self, start: str) -> None:
        trained = autoencoder(start, "structure" if hasattr(self.net, "patch") else "slat")
        start_from(self.net, trained, start)
        for part in (self.net.enter, self.net.encoder, self.net.moments):
            part.requires_grad_(False)
        if hasattr(self.net, "place"):
            self.net.place.requires_grad_(False)

    @torch.no_grad()
    def _measure(self, batches: Any, most: int = 64) -> None:
        found = []
        for number in range(min(len(batches), most)):
            batch = {k: v.to(self.device) for k, v in batches[number].items()}
            mean, _ = self._encoded(batch)
            found.append(mean[batch["mask"]] if "mask" in batch else mean.transpose(0, 1).flatten(1).T)
        values = torch.cat(found)
        self.net.mean.copy_(values.mean(0))
        self.net.std.copy_(values.std(0).clamp_min(1e-3))

    def _encoded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if "occupancy" in batch:
            return self.net.encode(batch["occupancy"])
        return self.net.encode(batch["sdf"], batch["colour"], batch["coords"], batch["mask"])

    def _parts(self, batch: Batch, generator: torch.Generator | None) -> tuple[dict[str, Tensor], Tensor, int]:
        mean, logvar = self._encoded(batch)
        z = mean
        if generator is not None:
            z = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=generator).to(mean)
        divergence = (mean.square() + logvar.exp() - 1 - logvar) / 2
        if "occupancy" in batch:
            return _structure_parts(self.net.decode(z), batch["occupancy"]), divergence.mean(), len(z)
        sdf, colour = self.net.decode(z, batch["coords"], batch["mask"])
        return _cell_parts(sdf, colour, batch), divergence[batch["mask"]].mean(), len(z)

    def _iou(self, batch: Batch) -> Tensor:
        mean, _ = self._encoded(batch)
        if "occupancy" in batch:
            a, b = self.net.decode(mean) > 0, batch["occupancy"] > 0.5
        else:
            sdf, _ = self.net.decode(mean, batch["coords"], batch["mask"])
            a, b = (sdf < 0) & batch["mask"][..., None], (batch["sdf"] < 0) & batch["mask"][..., None]
        both, either = (a & b).flatten(1).sum(1), (a | b).flatten(1).sum(1)
        return (both / either.clamp_min(1)).mean()


def _structure_parts(logits: Tensor, occupancy: Tensor) -> dict[str, Tensor]:
    logits = logits.float()
    chance = logits.sigmoid().flatten(1)
    truth = occupancy.flatten(1)
    dice = 1 - 2 * (chance * truth).sum(1) / (chance.sum(1) + truth.sum(1)).clamp_min(1)
    return {"entropy": functional.binary_cross_entropy_with_logits(logits, occupancy), "dice": dice.mean()}


def _cell_parts(sdf: Tensor, colour: Tensor, batch: Batch, *, sharpness: float = 16.0) -> dict[str, Tensor]:
    mask = batch["mask"]
    sdf, colour, truth = sdf[mask].float(), colour[mask].float(), batch["sdf"][mask]
    near = torch.exp(-((truth / 0.35).square()))  # within about a sample and a half of the surface
    side = functional.binary_cross_entropy_with_logits(-sharpness * sdf, (truth < 0).float())
    shade = ((colour - batch["colour"][mask]).abs().mean(2) * near).sum() / near.sum()
    return {"distance": ((sdf - truth).abs() * (0.3 + near)).mean(), "side": side, "shade": shade}
