"""What the training modules of restoration share: optimizer, warm start, validation in dB, export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from fewstep.core.checkpoint import export
from fewstep.core.errors import UsageError
from fewstep.core.lit.job import job_of
from fewstep.core.lit.muon import built
from fewstep.restoration import pretrained
from fewstep.restoration.degrade.recipe import recipe as recipe_of

Batch = Mapping[str, Tensor]

_log = logging.getLogger(__name__)

PATH = {"_target_": "fewstep.core.paths.resshift", "kappa": 0.5, "n_steps": 4, "min_noise": 0.1}


class Training(pl.LightningModule):
    """Optimizer, validation in dB and export; what is learnt is in `loss_of` and `answer`.

    Parameters
    ----------
    net
        The net.
    optimizer
        ``(parameters) -> optimizer``.
    scheduler
        ``(optimizer) -> learning-rate scheduler``, stepped after each batch; or None.
    seed
        Of what a loss draws.
    """

    recipe: Mapping[str, Any] | None = None
    """The plain job that built this module; `export` stores its parts."""

    method = "regression"
    steps = 1
    eta: float | Mapping[int, float] | None = None

    def __init__(
        self,
        net: nn.Module,
        *,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., Any] | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.net: Any = net
        self.optimizer, self.scheduler, self.seed = optimizer, scheduler, seed

    def loss_of(self, batch: Batch, stream: tuple[int, ...]) -> Tensor:
        """The loss of a batch; `stream` are the keys of its random stream."""
        raise NotImplementedError

    def answer(self, batch: Batch) -> Tensor:
        """What validation compares with x0."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler per step if there is one."""
        optimizer = built(self.optimizer, self)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss = self.loss_of(batch, (0, self.current_epoch, batch_idx, self.global_rank))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["x0"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss, at the same draws each time, and the PSNR of the answer in dB."""
        size = len(batch["x0"])
        with torch.no_grad():
            self.log("val/loss", self.loss_of(batch, (1, 0, batch_idx, 0)), sync_dist=True, batch_size=size)
            error = (self.answer(batch).clamp(-1, 1) - batch["x0"]).square()
            mask = batch.get("mask")
            per_item = error.mean((1, 2, 3)) if mask is None else (error * mask).mean((1, 2, 3)) / mask.mean((1, 2, 3))
            self.log("val/psnr", (-10 * torch.log10(per_item / 4)).mean(), sync_dist=True, batch_size=size)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def export(self, folder: str | Path, *, recipe: Mapping[str, Any] | None = None) -> Path:
        """Write the net as safetensors beside a config, for ``fewstep.restoration.pretrained.load``.

        Parameters
        ----------
        folder
            Where to write.
        recipe
            The plain job, with ``module.net`` and ``data.recipe``; default: the one that `fewstep fit` ran.

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
        how = dict(recipe_of(job.get("data", {}).get("recipe", "bicubic4")))
        config = {
            "kind": pretrained.KIND,
            "model": job["module"]["net"],
            "task": how["task"],
            "scale": how["scale"],
            "method": self.method,
            "path": job["module"].get("path", PATH),
            "steps": self.steps,
            "recipe": how,
        }
        if self.eta is not None:
            config["eta"] = dict(self.eta) if isinstance(self.eta, Mapping) else self.eta
        return export(folder, self.net, config)


def take(net: nn.Module, weights: Mapping[str, Tensor], *, within: str = "") -> list[str]:
    """Copy the tensors whose name and shape fit; say which did not.

    Parameters
    ----------
    net
        Gets the weights.
    weights
        A state dict.
    within
        Prefix of their names in `net`.

    Returns
    -------
    list of str
        What was not taken.

    Raises
    ------
    UsageError
        If nothing fits.
    """
    state, left = net.state_dict(), []
    for name, value in weights.items():
        mine = state.get(within + name)
        if mine is not None and mine.shape == value.shape:
            mine.copy_(value)
        else:
            left.append(name)
    if len(left) == len(weights):
        raise UsageError(f"none of the {len(weights)} tensors to start from fits this net: is it another architecture?")
    if left:
        _log.info("not taken from the start: %s", ", ".join(left[:5]))
    return left
