"""Training of the judge of shapes: cross-entropy of each question that the shape's kind answers, on the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.checkpoint import export
from fewstep.core.lit.job import job_of
from fewstep.core.lit.muon import built
from fewstep.three_d.data.judged import ABSENT
from fewstep.three_d.models.classifier import KIND

Batch = Mapping[str, Tensor]


class JudgeModule(pl.LightningModule):
    """A `Judge` in training.

    Parameters
    ----------
    net
        The judge.
    optimizer, scheduler
        ``(parameters) -> optimizer``, ``(optimizer) -> scheduler`` stepped after each batch, or None.
    """

    recipe: Mapping[str, Any] | None = None

    def __init__(
        self,
        net: nn.Module,
        *,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., Any] | None = None,
    ):
        super().__init__()
        self.net: Any = net
        self.optimizer, self.scheduler = optimizer, scheduler

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler per step if there is one."""
        optimizer = built(self.optimizer, self)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        logits, _ = self.net(batch["grid"])
        told = zip(logits.values(), batch["answers"].unbind(1), strict=True)
        losses = [functional.cross_entropy(x.float(), y, ignore_index=ABSENT, reduction="sum") for x, y in told]
        loss = torch.stack(losses).sum() / (batch["answers"] != ABSENT).sum()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["grid"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The share of right answers: to the questions of all kinds each, and to those of one kind together."""
        logits, _ = self.net(batch["grid"])
        right: dict[str, list[Tensor]] = {}
        for (name, x), y in zip(logits.items(), batch["answers"].unbind(1), strict=True):
            asked = y != ABSENT
            key = name if "." not in name else "attributes"
            right.setdefault(key, []).append((x.argmax(1) == y)[asked])
        for key, values in right.items():
            every = torch.cat(values)
            if len(every):
                self.log(f"val/{key}", every.float().mean(), batch_size=len(every), sync_dist=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def export(self, folder: str | Path, *, recipe: Mapping[str, Any] | None = None) -> Path:
        """Write the net beside its config.

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
        return export(folder, self.net, {"kind": KIND, "model": job["module"]["net"]})
