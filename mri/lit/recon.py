"""Training of regressors: ``net(problem, start) -> image`` against x0, by the mean absolute complex error."""

from __future__ import annotations

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
from fewstep.core.pretrained import Pretrained
from fewstep.mri import metrics
from fewstep.mri.api import REGRESSION_KIND
from fewstep.mri.problem import Problem

Batch = Mapping[str, Tensor]


class ReconModule(pl.LightningModule):
    """Any net of `fewstep.mri.models` that answers with an image.

    Parameters
    ----------
    net
        ``net(problem, start) -> complex64 [batch, y, x]``.
    start
        A diffusion model whose weights ``net.net`` starts from (`fewstep.mri.models.unrolled`); None: as it is.
    optimizer
        ``(parameters) -> optimizer``.
    scheduler
        ``(optimizer) -> learning-rate scheduler``, stepped after each batch; or None.
    """

    recipe: Mapping[str, Any] | None = None
    """The plain job that built this module; `export` stores its parts."""

    def __init__(
        self,
        net: nn.Module,
        *,
        start: str | Path | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., Any] | None = None,
    ):
        super().__init__()
        self.net, self.optimizer, self.scheduler = net, optimizer, scheduler
        if start is not None:
            if not hasattr(net, "net"):
                raise UsageError(f"expected a net with a prior inside to start from {start}, got {type(net).__name__}")
            net.net.load_state_dict(Pretrained.load(start).net.state_dict())

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler per step if there is one."""
        optimizer = built(self.optimizer, self)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}

    def forward(self, batch: Batch) -> Tensor:
        """Complex64 [batch, y, x]."""
        return self.net(problem_of(batch), batch["start"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss = (self(batch) - batch["x0"]).abs().mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["x0"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """fastMRI's metrics, of the net and of the image that it starts from."""
        with torch.no_grad():
            for name, image in (("", self(batch)), ("start_", batch["start"])):
                for metric in (metrics.psnr, metrics.nmse):
                    value = metric(image, batch["x0"])
                    self.log(f"val/{name}{metric.__name__}", value, sync_dist=True, batch_size=len(batch["x0"]))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def export(self, folder: str | Path, *, recipe: Mapping[str, Any] | None = None) -> Path:
        """Write the net as safetensors beside a config, for ``Reconstructor.load(folder, method="regression")``.

        Parameters
        ----------
        folder
            Where to write.
        recipe
            The plain job, with ``module.net``; default: the one that `fewstep fit` ran.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        UsageError
            If there is no recipe.
        """
        recipe = job_of(self, recipe)
        return export(folder, self.net, {"kind": REGRESSION_KIND, "model": recipe["module"]["net"]})


def problem_of(batch: Batch) -> Problem:
    """The scan in a batch of `fewstep.mri.data.scans`."""
    noise = float(batch["noise_std"].float().mean())
    return Problem(batch["kspace"], batch["mask"], batch["coil_maps"], noise)
