"""Training of any net on any path: the net's output is regressed on its target at random times of the path.

    loss = E_{t, eps} w(t) |net(x_t, t, cond) - target(x0, eps, t, y)|^2,     x_t = a(t) x0 + b(t) y + s(t) eps

(Ho et al. 2020, arXiv:2006.11239, eq. 14, for eps; Kingma & Gao 2023, arXiv:2303.00848, for what other weights mean.)
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from fewstep.core import parameterize, rng, solvers, times
from fewstep.core.checkpoint import export, start_from
from fewstep.core.errors import UsageError
from fewstep.core.lit import training_times
from fewstep.core.lit.muon import built
from fewstep.core.paths import AffinePath
from fewstep.core.pretrained import Pretrained
from fewstep.core.sample import sample

Batch = Mapping[str, Any]


class DiffusionModule(pl.LightningModule):
    """Any net × path × parameterisation × loss.

    A batch is a mapping with ``x0`` [batch, ...] and, where the task has them, ``y`` (the degraded end, as `x0`),
    ``cond`` (what the net is told), ``mask`` (bool, broadcast to `x0`, false where an item is padding). For `predict`
    it has ``seed`` [batch] (int64), ``shape`` if no ``y`` gives it, and no ``x0``.

    Parameters
    ----------
    net
        ``net(x, t)``, or ``net(x, t, cond)`` where batches have ``cond``; `t` is [batch].
    path
        The process.
    parameterization
        What the net outputs: ``"eps"``, ``"x0"``, ``"v"``, ``"score"`` or ``"flow"``.
    loss
        ``(output, target) -> errors`` of the same shape.
    weight
        ``(path, t) -> [batch]``, or None for 1.
    draw_times
        ``(u, path) -> t``, see `fewstep.core.lit.training_times`.
    optimizer
        ``(parameters) -> optimizer``, `fewstep.core.lit.muon.Muon` among them.
    scheduler
        ``(optimizer) -> learning-rate scheduler``, stepped after each batch; or None.
    solver, grid, steps
        How validation and prediction sample: a solver, ``(path, steps) -> times`` and the number of steps.
    metrics
        Name -> ``(samples, x0) -> number``, computed on one sampled set per validation.
    start
        A trained model of this net, whose weights start this one (a name, a folder, a run). A run of its own: resuming
        is ``ckpt=last``.
    seed
        Of times and noise; each batch has its own stream, so a resumed run draws what an unbroken one draws.

    Raises
    ------
    UsageError
        If a parameter is not as described, or the weights to start from do not fit.
    """

    recipe: Mapping[str, Any] | None = None
    """The plain job that built this module; `export` stores its parts."""
    averaged: bool | None = None
    """Whether the weights are averages; a run says so before it exports, and an export of raw ones says so too."""

    def __init__(
        self,
        net: nn.Module,
        path: AffinePath,
        *,
        parameterization: str = "eps",
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        weight: Callable[[AffinePath, Tensor], Tensor] | None = None,
        draw_times: Callable[[Tensor, AffinePath], Tensor] = training_times.uniform,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., Any] | None = None,
        solver: Any = None,
        grid: Callable[[AffinePath, int], Tensor] = times.uniform,
        steps: int = 20,
        metrics: Mapping[str, Callable[[Tensor, Tensor], Any]] | None = None,
        start: str | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if parameterization not in parameterize.KINDS:
            raise UsageError(f"parameterization {parameterization!r}: expected one of {', '.join(parameterize.KINDS)}")
        if steps < 1:
            raise UsageError(f"steps is at least 1, got {steps}")
        self.net, self.path, self.parameterization = net, path, parameterization
        self.loss = loss or nn.MSELoss(reduction="none")
        self.weight, self.draw_times = weight, draw_times
        self.optimizer, self.scheduler = optimizer, scheduler
        self.solver, self.grid, self.steps = solver or solvers.ddim(), grid, steps
        self.metrics, self.seed = dict(metrics or {}), seed
        self._validated: list[tuple[Tensor, Tensor]] = []
        if start is not None:
            start_from(self.net, Pretrained.load(start).net, start)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler per step if there is one."""
        optimizer = built(self.optimizer, self)
        if self.scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"},
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss = self._loss(batch, stream=(0, self.current_epoch, batch_idx, self.global_rank))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["x0"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss at the same times and noise each time, and samples for the metrics."""
        loss = self._loss(batch, stream=(1, 0, batch_idx, self.global_rank))
        self.log("val/loss", loss, prog_bar=True, sync_dist=True, batch_size=len(batch["x0"]))
        if self.metrics:
            self._validated.append((self._draw(batch, batch["x0"].shape, 10_000 * batch_idx), batch["x0"]))

    def on_validation_epoch_end(self) -> None:
        """The metrics of all that was sampled."""
        if not self._validated:
            return
        drawn, x0 = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        for name, metric in self.metrics.items():
            self.log(f"val/{name}", float(metric(drawn, x0)), sync_dist=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self.on_validation_epoch_end()

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One sample for each seed of the batch.

        Raises
        ------
        UsageError
            If the batch has neither ``x0``, ``y`` nor ``shape``, which would say what to draw.
        """
        like = batch.get("x0", batch.get("y"))
        if like is None and "shape" not in batch:
            raise UsageError(f"a batch to predict needs 'shape', 'y' or 'x0', got {sorted(batch)}")
        shape = like.shape if like is not None else (len(batch["seed"]), *batch["shape"][0].tolist())
        return self._draw(batch, shape)

    def export(self, folder: str | Path, *, recipe: Mapping[str, Any] | None = None) -> Path:
        """Write the net as safetensors beside a config with the path and how to sample.

        Parameters
        ----------
        folder
            Where to write.
        recipe
            The plain job, with ``module.net`` and ``module.path``; default: the one that `fewstep fit` ran.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        UsageError
            If there is no recipe.
        """
        recipe = recipe or self.recipe
        if recipe is None:
            raise UsageError("export needs this module's recipe: pass recipe={'module': {'net': ..., 'path': ...}}")
        module = recipe["module"]
        config = {
            "kind": "diffusion",
            "model": module["net"],
            "path": module["path"],
            "parameterization": self.parameterization,
            "steps": self.steps,
        }
        if self.averaged is False:
            config["averaged"] = False
        return export(folder, self.net, config)

    def _loss(self, batch: Batch, *, stream: tuple[int, ...]) -> Tensor:
        x0, y = batch["x0"], batch.get("y")
        generator = rng.generator(self.seed, *stream)
        u = training_times.stratified(len(x0), generator, x0.device)
        t = self.draw_times(u, self.path)
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        output = self._net(self.path.sample(x0, eps, t, y), t, batch)
        target = parameterize.target(self.parameterization, self.path, x0, eps, t, y)
        return self._mean(self.loss(output, target), t, batch.get("mask"))

    def _net(self, x: Tensor, t: Tensor, batch: Batch) -> Tensor:
        cond = batch.get("cond")
        return self.net(x, t) if cond is None else self.net(x, t, cond)

    def _mean(self, errors: Tensor, t: Tensor, mask: Tensor | None) -> Tensor:
        if self.weight is not None:
            errors = errors * self.weight(self.path, t).reshape(-1, *[1] * (errors.ndim - 1))
        if mask is None:
            return errors.mean()
        mask = mask.expand_as(errors).to(errors.dtype)
        return (errors * mask).sum() / mask.sum().clamp_min(1)

    def _draw(self, batch: Batch, shape: Any, first_seed: int = 0) -> Tensor:
        seeds = batch["seed"].tolist() if "seed" in batch else range(first_seed, first_seed + shape[0])
        y, cond = batch.get("y"), batch.get("cond")
        denoise = getattr(parameterize, self.parameterization)(self.net, self.path, y=y, cond=cond)
        grid = self.grid(self.path, self.steps)
        return sample(
            denoise,
            self.path,
            times=grid,
            solver=self.solver,
            shape=tuple(shape),
            y=y,
            seeds=[self.seed + int(seed) for seed in seeds],
            device=self.device,
            dtype=next(self.net.parameters()).dtype,
        ).x
