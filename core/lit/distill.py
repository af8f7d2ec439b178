"""Distillation by any recipe of `fewstep.core.distill`: a trained model in, a student of few steps out.

The teacher is no part of the student's checkpoint. A recipe that keeps a denoiser of the student's own law has it
trained by turns with its own optimiser. Progressive distillation is one fit per halving, each with the last export as
teacher.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from fewstep.core import guide, rng, solvers, times
from fewstep.core.checkpoint import export
from fewstep.core.distill.consistency import Consistency
from fewstep.core.distill.recipe import FakeRecipe, Items, Nets, Recipe
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import KIND, Pretrained
from fewstep.core.sample import sample
from fewstep.core.types import Denoise

Batch = Mapping[str, Any]


class DistillModule(pl.LightningModule):
    """Teach a copy of a teacher to take few steps.

    A batch is that of `DiffusionModule`: ``x0`` and, where the task has them, ``y``, ``cond``; ``uncond`` if guidance
    is distilled; ``eps`` for recipes that learn from pairs.

    Parameters
    ----------
    teacher
        A model that ships, a folder or a hub id; its weights start the student.
    method
        The recipe.
    steps
        Steps that the student is made for; recorded in its export.
    learning_rate, fake_learning_rate
        Of the student and of the denoiser of its law (Adam).
    fake_updates
        How often the latter learns for each of the student's turns.
    target_decay
        Of the moving average that consistency recipes compare with.
    guidance_scale
        Above 1 the teacher is guided with ``batch["uncond"]``, and the student learns the result in one call.
    metrics
        Name -> ``(samples, x0) -> number``, for the student at 1, 2 and 4 steps and for the teacher beside it.
    seed
        Of times and noise; a resumed run draws what an unbroken one draws.

    Raises
    ------
    UsageError
        If a parameter is not as described, or the loss is not finite (the last checkpoint is kept).
    """

    recipe: Mapping[str, Any] | None = None

    def __init__(
        self,
        *,
        teacher: str,
        method: Recipe,
        steps: int = 1,
        learning_rate: float = 1e-3,
        fake_learning_rate: float = 1e-3,
        fake_updates: int = 2,
        target_decay: float = 0.95,
        guidance_scale: float = 1.0,
        metrics: Mapping[str, Callable[[Tensor, Tensor], Any]] | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if steps < 1 or fake_updates < 1:
            raise UsageError(f"expected steps and fake_updates of at least 1, got {steps=}, {fake_updates=}")
        if not isinstance(method, Recipe):
            raise UsageError(f"method: expected a recipe of fewstep.core.distill, got {type(method).__name__}")
        original = Pretrained.load(teacher)
        object.__setattr__(self, "teacher", original)  # not a sub-module: neither trained nor saved
        self.net = copy.deepcopy(original.net).requires_grad_(True).train()
        self.target = copy.deepcopy(original.net)
        self.method, self.steps, self.path = method, steps, original.path
        self.fake = copy.deepcopy(self.net) if isinstance(method, FakeRecipe) else None
        self.automatic_optimization = self.fake is None
        self.learning_rate, self.fake_learning_rate = learning_rate, fake_learning_rate
        self.fake_updates, self.target_decay = fake_updates, target_decay
        self.guidance_scale, self.metrics, self.seed = guidance_scale, dict(metrics or {}), seed
        self._validated: list[Batch] = []

    def configure_optimizers(self) -> Any:
        """Adam; two of them if there is a denoiser of the student's law."""
        if self.fake is None:
            return torch.optim.Adam(self.net.parameters(), self.learning_rate)
        betas = (0.0, 0.99)
        return [
            torch.optim.Adam(self.net.parameters(), self.learning_rate, betas=betas),
            torch.optim.Adam(self.fake.parameters(), self.fake_learning_rate, betas=betas),
        ]

    def on_fit_start(self) -> None:
        """The teacher goes where the student is."""
        self.teacher.net.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """One turn of the student, after those of the denoiser of its law."""
        generator = rng.generator(self.seed, 0, self.current_epoch, batch_idx, self.global_rank)
        nets, items = self._nets(batch), Items(batch["x0"], batch.get("y"), batch.get("eps"))
        if not isinstance(self.method, FakeRecipe):
            return self._checked("train/loss", self.method.loss(nets, self.path, items, generator))
        ours, of_fake = self.optimizers()
        for _ in range(self.fake_updates):
            loss = self._checked("train/fake", self.method.fake_loss(nets, self.path, items, generator))
            self._descend(of_fake, loss)
        self._descend(ours, self._checked("train/loss", self.method.loss(nets, self.path, items, generator)))
        self._follow()
        return None

    def _descend(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def _checked(self, name: str, loss: Tensor) -> Tensor:
        mean = loss.mean()
        if not torch.isfinite(mean):
            raise UsageError(
                f"{name} is {mean.item()} at step {self.global_step}: the last checkpoint is kept; go on from it with "
                "a smaller learning rate"
            )
        self.log(name, mean, prog_bar=True, batch_size=len(loss))
        return mean

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The target follows the student at once, so that a checkpoint of this step has both."""
        super().optimizer_step(*args, **kwargs)
        self._follow()

    def _follow(self) -> None:
        with torch.no_grad():
            for mine, theirs in zip(self.target.parameters(), self.net.parameters(), strict=True):
                mine.lerp_(theirs, 1 - self.target_decay)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep what is to be sampled."""
        self._validated.append(batch)

    def on_validation_epoch_end(self) -> None:
        """Student at 1, 2 and 4 steps, teacher at as many."""
        for who, net in (("student", self.net), ("teacher", None)):
            for steps in (1, 2, 4):
                drawn = [self._draw(self._student(b, net), b, steps, i) for i, b in enumerate(self._validated)]
                for name, metric in self.metrics.items() if drawn else ():
                    x0 = torch.cat([b["x0"] for b in self._validated])
                    self.log(f"val/{who}_{steps}/{name}", float(metric(torch.cat(drawn), x0)), sync_dist=True)
        self._validated.clear()

    def export(self, folder: str | Path) -> Path:
        """Write the student with its path, its steps and how it is read.

        Parameters
        ----------
        folder
            Where to write.

        Returns
        -------
        pathlib.Path
            The folder.
        """
        config = {key: value for key, value in self.teacher.config.items() if key != "sha256"}
        config |= {"kind": KIND, "steps": self.steps, "distilled": type(self.method).__name__}
        if isinstance(self.method, Consistency):
            config["sigma_data"] = self.method.sigma_data
        return export(folder, self.net, config)

    def _nets(self, batch: Batch) -> Nets:
        y, cond = batch.get("y"), batch.get("cond")
        read = self.teacher.denoise
        teacher = read(y=y, cond=cond)
        if self.guidance_scale != 1:
            if "uncond" not in batch:
                raise UsageError(
                    "guidance_scale is not 1: batches need 'uncond', what the net is told without a condition"
                )
            teacher = guide.cfg(teacher, read(y=y, cond=batch["uncond"]), self.guidance_scale)
        plain = {"y": y, "cond": cond}
        fake = None if self.fake is None else read(**plain, net=self.fake)
        return Nets(read(**plain, net=self.net), read(**plain, net=self.target), teacher, fake)

    def _student(self, batch: Batch, net: nn.Module | None) -> Denoise:
        read = self.teacher.denoise(y=batch.get("y"), cond=batch.get("cond"), net=net)
        if net is not None and isinstance(self.method, Consistency):
            return self.method.read(read, self.path, batch.get("y"))
        return read

    def _draw(self, denoise: Denoise, batch: Batch, steps: int, number: int) -> Tensor:
        x0 = batch["x0"]
        grid = times.uniform(self.path, steps)
        return sample(
            denoise, self.path, times=grid, solver=solvers.ddim(), shape=x0.shape, y=batch.get("y"),
            generator=rng.generator(self.seed, 1, number).initial_seed(), device=x0.device, dtype=x0.dtype,
        ).x  # fmt: skip
