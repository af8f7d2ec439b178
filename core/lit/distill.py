"""Distillation by any recipe of `fewstep.core.distill`: a trained model in, a student of few steps out.

The teacher is no part of the student's checkpoint. A net that a recipe trains by turns with the student (a denoiser of
the student's law, a discriminator) has its own optimiser. Progressive distillation is one fit per halving, each with
the last export as teacher.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from fewstep.core import guide, rng, solvers
from fewstep.core.checkpoint import export
from fewstep.core.distill.informed import Informed, Told
from fewstep.core.distill.lora import Lora, merged
from fewstep.core.distill.recipe import FakeRecipe, Items, JudgedRecipe, Nets, Recipe
from fewstep.core.distill.refiner import Refined
from fewstep.core.distill.relay import Turn
from fewstep.core.errors import UsageError
from fewstep.core.lit import distill_checks as checks
from fewstep.core.lit.distill_samples import save_samples
from fewstep.core.lit.muon import built
from fewstep.core.pretrained import KIND, TABLE, Pretrained
from fewstep.core.sample import sample
from fewstep.core.solvers.tune import store
from fewstep.core.types import Denoise

Batch = Mapping[str, Any]


class DistillModule(pl.LightningModule):
    """Teach a copy of a teacher to take few steps.

    A batch is that of `DiffusionModule`: ``x0`` and, where the task has them, ``y``, ``cond``, ``mask``; ``uncond`` if
    guidance is distilled; ``eps`` for recipes that learn from pairs, and ``t`` if it is a state between the ends;
    ``near`` for recipes that compare sets.

    Parameters
    ----------
    teacher
        A model that ships, a folder, a run or a hub id; its weights start the student.
    method
        The recipe.
    steps
        Steps that the student is made for; recorded in its export. Default: the recipe's, else 1.
    student
        Another model to start the student from, of the teacher's path, parameterisation and shape.
    judge
        The discriminator ``judge(x_r, r, x_t)``, for recipes that need one (`fewstep.core.distill.beside.PairJudge`).
    refiner
        What is trained instead of the student, for the recipe of that name (`VelocityRefiner` there).
    adapter
        Train low-rank adapters alone.
    full
        Calls of the teacher before the refiner takes over, for that recipe's export.
    learning_rate, fake_learning_rate
        Of the student, and of the net that is trained by turns with it (Adam).
    optimizer
        ``(parameters) -> optimizer`` of the student instead, with a learning rate of its own
        (`fewstep.core.lit.muon.Muon` for transformers).
    total_steps
        If given, both rates rise for 50 iterations and fall linearly over this many.
    fake_updates
        How often the latter learns for each of the student's turns.
    gradient_clip
        Largest norm of a gradient, for recipes with two optimisers (others: trainer.gradient_clip_val).
    target_decay
        Of the moving average that consistency recipes compare with.
    guidance_scale
        Above 1 the teacher is guided with ``batch["uncond"]``, and the student learns the result in one call.
    metrics
        Name -> ``(samples, x0) -> number``, for the student at 1, 2 and 4 steps and for the teacher beside it.
    save_samples
        Keep the first of these samples in the run's folder `samples`, as pictures too where they are some.
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
        steps: int | None = None,
        student: str | None = None,
        judge: nn.Module | None = None,
        refiner: nn.Module | None = None,
        adapter: Lora | None = None,
        full: int = 1,
        learning_rate: float = 1e-3,
        fake_learning_rate: float = 1e-3,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        total_steps: int | None = None,
        fake_updates: int = 2,
        gradient_clip: float | None = None,
        target_decay: float = 0.95,
        guidance_scale: float = 1.0,
        metrics: Mapping[str, Callable[[Tensor, Tensor], Any]] | None = None,
        save_samples: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        steps = checks.steps(steps, method)
        if steps < 1 or fake_updates < 1:
            raise UsageError(f"expected steps and fake_updates of at least 1, got {steps=}, {fake_updates=}")
        checks.parts(method, judge=judge, refiner=refiner, adapter=adapter, guidance_scale=guidance_scale)
        original = Pretrained.load(teacher)
        checks.halving(original, method)
        object.__setattr__(self, "teacher", original)  # not a sub-module: neither trained nor saved
        self.origin = original if student is None else checks.same_kind(Pretrained.load(student), original)
        checks.plain(original, self.origin)
        self.told: Told | None = getattr(method, "told", None)
        self.net = self._start(refiner, adapter)
        self.target = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.fake = copy.deepcopy(original.net).requires_grad_(True).train() if isinstance(method, FakeRecipe) else None
        self.judge = judge.train() if judge is not None else None
        self.kept = nn.ModuleList(copy.deepcopy(original.net) for _ in range(getattr(method, "snapshots", 0)))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.method, self.steps, self.path = method, steps, original.path
        self.automatic_optimization = self.fake is None and self.judge is None
        self.learning_rate, self.fake_learning_rate, self.optimizer = learning_rate, fake_learning_rate, optimizer
        self.total_steps, self.full, self.gradient_clip = total_steps, full, gradient_clip
        self.fake_updates, self.target_decay = fake_updates, target_decay
        self.guidance_scale, self.metrics, self.seed = guidance_scale, dict(metrics or {}), seed
        self.save_samples, self._compared = save_samples, False
        self._validated: list[Batch] = []

    def _start(self, refiner: nn.Module | None, adapter: Lora | None) -> nn.Module:
        if refiner is not None:
            return refiner.train()
        net = copy.deepcopy(self.origin.net).requires_grad_(True)
        if adapter is not None:
            return adapter.adapt(net).train()
        return (net if self.told is None else Informed(net, inputs=self.told.inputs)).train()

    def configure_optimizers(self) -> Any:
        """Adam unless another was given; two if another net is trained by turns."""
        other = self.fake or self.judge
        betas = (0.9, 0.999) if other is None else (0.0, 0.99)
        make = self.optimizer or partial(torch.optim.Adam, lr=self.learning_rate, betas=betas)
        if other is None:
            return self._scheduled(built(make, self.net))
        found = [
            self._scheduled(built(make, self.net)),
            self._scheduled(torch.optim.Adam(other.parameters(), self.fake_learning_rate, betas=betas)),
        ]
        if self.total_steps is None:
            return found
        return [part["optimizer"] for part in found], [part["lr_scheduler"] for part in found]

    def _scheduled(self, optimizer: torch.optim.Optimizer) -> Any:
        if self.total_steps is None:
            return optimizer
        rate = partial(_rate, total=self.total_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """The teacher goes where the student is."""
        self.teacher.net.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """One turn of the student, after those of the net that learns beside it."""
        generator = rng.generator(self.seed, 0, self.current_epoch, batch_idx, self.global_rank)
        if not self._compared:
            checks.shapes(self.teacher, batch)
            self._compared = True
        with checks.memory_advice():
            return self._turn(batch, generator)

    def _turn(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        iteration = int(self.seen)
        turn: Turn = self.method.turn(iteration) if hasattr(self.method, "turn") else Turn()
        nets = self._nets(batch, turn.target)
        told = {key: batch.get(key) for key in ("t", "cond", "near")}
        items = Items(batch["x0"], batch.get("y"), batch.get("eps"), batch.get("mask"), iteration, **told)
        self.seen += 1
        if self.automatic_optimization:
            return self._checked("train/loss", self.method.loss(nets, self.path, items, generator))
        ours, of_other = self.optimizers()
        name, loss_of = self._other()
        for _ in range(self.fake_updates):
            self._descend(of_other, self._checked(name, loss_of(nets, self.path, items, generator)))
        if turn.learns:
            loss = self.method.loss(nets, self.path, items, generator)
            self._descend(ours, self._checked("train/loss", loss))
            self._follow()
        if turn.keep is not None:
            self.kept[turn.keep].load_state_dict(self.fake.state_dict())
        for schedule in self.lr_schedulers() or () if self.total_steps else ():
            schedule.step()
        return None

    def _other(self) -> tuple[str, Callable[..., Tensor]]:
        if isinstance(self.method, JudgedRecipe):
            return "train/judge", self.method.judge_loss
        return "train/fake", self.method.fake_loss

    def _descend(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.gradient_clip, gradient_clip_algorithm="norm")
        optimizer.step()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Lightning's, with advice where memory runs out."""
        with checks.memory_advice():
            super().backward(loss, *args, **kwargs)

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
        if self.automatic_optimization:
            self._follow()

    def _follow(self) -> None:
        with torch.no_grad():
            for mine, theirs in zip(self.target.parameters(), self.net.parameters(), strict=True):
                mine.lerp_(theirs, 1 - self.target_decay)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep what is to be sampled."""
        self._validated.append(batch)

    def on_validation_epoch_end(self) -> None:
        """Student at 1, 2 and 4 steps, teacher at as many: metrics, and samples on disk."""
        found: dict[str, Tensor] = {}
        if not self._validated or not (self.metrics or self.save_samples):
            self._validated.clear()
            return
        student = Pretrained.of(*self.exported())
        for who, model in (("student", student), ("teacher", self.teacher)):
            for steps in (1, 2, 4):
                drawn = torch.cat([self._draw(model, b, steps, i) for i, b in enumerate(self._validated)])
                found[f"{who}_{steps}"] = drawn
                for name, metric in self.metrics.items():
                    x0 = torch.cat([b["x0"] for b in self._validated])
                    self.log(f"val/{who}_{steps}/{name}", float(metric(drawn, x0)), sync_dist=True)
        if self.save_samples and self.trainer.is_global_zero:
            save_samples(Path(self.trainer.default_root_dir) / "samples", int(self.seen), found)
        self._validated.clear()

    def export(self, folder: str | Path) -> Path:
        """Write the student with its path, its steps, their times, its table and how it is read.

        Parameters
        ----------
        folder
            Where to write.

        Returns
        -------
        pathlib.Path
            The folder.
        """
        net, config = self.exported()
        folder = Path(folder)
        (folder / TABLE).unlink(missing_ok=True)  # of other weights
        export(folder, net, config)
        student = Pretrained.load(folder)
        table = (student.solver or solvers.ddim()).tableau(student.path, student.grid())
        part = folder / f".{TABLE}"
        store.save(table, part, net=str(student.config["sha256"])[:16])
        part.replace(folder / TABLE)
        return folder

    def exported(self) -> tuple[nn.Module, dict[str, Any]]:
        """The student as it stands, and the config that reads it."""
        config = self._inherited() | {"kind": KIND, "steps": self.steps, "distilled": type(self.method).__name__}
        if hasattr(self.method, "read"):
            config["sigma_data"] = self.method.sigma_data
        if getattr(self.method, "times", None) is not None:
            config["times"] = [float(t) for t in self.method.times]
        if hasattr(self.method, "solver"):
            config["solver"] = {"_target_": f"fewstep.core.solvers.{self.method.solver}"}
        if getattr(self.method, "refines", False):
            model = {"net": config["model"], "refiner": self._job("refiner")}
            config |= {"model": {"_target_": "fewstep.core.distill.refiner.Refined"} | model, "full": self.full}
            return Refined(self.origin.net, self.net), config
        if self.told is not None:
            model = {"net": config["model"]} | self.net.config()
            told = {"end": self.told.end, "guidance": self.told.guidance, "latent": self.told.latent}
            told["guidance"] = None if self.told.guidance is None else [float(w) for w in self.told.guidance]
            config |= {"model": {"_target_": "fewstep.core.distill.informed.Informed"} | model, "told": told}
        return merged(self.net), config

    def _job(self, part: str) -> Any:
        """The plain config of a part, of the job that built this module."""
        return ((self.recipe or {}).get("module") or {}).get(part)

    def _nets(self, batch: Batch, target: int | None = None) -> Nets:
        y, cond = batch.get("y"), batch.get("cond")
        plain = {"y": y, "cond": cond}
        teacher, guided = self.teacher.denoise(**plain), None
        if "uncond" in batch:
            alone = self.teacher.denoise(y=y, cond=batch["uncond"])
            guided = partial(_guided, teacher, alone)
        if self.guidance_scale != 1:
            if guided is None:
                raise UsageError(
                    "guidance_scale is not 1: batches need 'uncond', what the net is told without a condition"
                )
            teacher = guide.cfg(teacher, alone, self.guidance_scale)
        if target is not None:
            teacher = self.teacher.denoise(**plain, net=self.kept[target])
        refiner = self.net if getattr(self.method, "refines", False) else None
        read = self._reader().denoise if refiner is None else (lambda net, **options: teacher)
        fake = None if self.fake is None else self.teacher.denoise(**plain, net=self.fake)
        student, average = (read(**plain, net=net) for net in (self.net, self.target))
        return Nets(student, average, teacher, fake, self.judge, guided, refiner)

    def _reader(self) -> Pretrained:
        """How the student is read in training: as its origin, but for what it is told and without a boundary."""
        return dataclasses.replace(Pretrained.of(self.origin.net, self._inherited()), told=self.told)

    def _inherited(self) -> dict[str, Any]:
        """The origin's config without what a student has of its own."""
        left_out = (*_REPLACED, "sigma_data") if hasattr(self.method, "read") else _REPLACED
        return {key: value for key, value in self.origin.config.items() if key not in left_out}

    def _draw(self, model: Pretrained, batch: Batch, steps: int, number: int) -> Tensor:
        x0, y, cond = batch["x0"], batch.get("y"), batch.get("cond")
        seed = rng.generator(self.seed, 1, number).initial_seed()
        if model is not self.teacher:
            return model.sample(shape=x0.shape, y=y, cond=cond, steps=steps, generator=seed).x.to(x0)
        grid = model.grid(steps)
        denoise: Denoise = self._nets(batch).teacher
        return sample(
            denoise, self.path, times=grid, solver=model.solver or solvers.ddim(), shape=x0.shape, y=y,
            generator=seed, device=x0.device, dtype=x0.dtype,
        ).x  # fmt: skip


_REPLACED = ("sha256", "times", "solver", "told", "full", "averaged")


def _guided(cond: Denoise, alone: Denoise, w: Tensor) -> Denoise:
    """The teacher with a guidance weight per item."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        scale = w.to(x.device, x.real.dtype).reshape(-1, *[1] * (x.ndim - 1))
        without = alone(x, t)
        return without + scale * (cond(x, t) - without)

    return denoise


def _rate(iteration: int, *, total: int) -> float:
    return min(1.0, (iteration + 1) / 50) * max(0.02, 1 - iteration / total)
