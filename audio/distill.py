"""Any recipe of the core on a voice: a ProDiff teacher in, a student of one or two calls out.

The condition network is the teacher's and frozen; only the denoiser learns, on recorded speech with its own padding
masked. Recipes of pairs get theirs as they go: fresh noise and where the teacher carries it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.audio.lit import AcousticModule, mixed_condition
from fewstep.audio.models.condition import Condition
from fewstep.audio.models.prodiff import ProDiff
from fewstep.audio.voice import load_voice
from fewstep.core import checkpoint, parameterize, solvers, times
from fewstep.core.build import build
from fewstep.core.distill.consistency import bounded
from fewstep.core.distill.informed import Informed, Told, telling
from fewstep.core.distill.recipe import FakeRecipe, Items, JudgedRecipe, Nets, Recipe
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.sample import sample

STUDENT = "tts-student"
"""Kind of an export that `TextToSpeech` cannot read."""
SITES = r"denoiser\.(enter|layers\.\d+\.(conv|out))"
"""Layers of the denoiser that are told more than their time."""


class VoiceDistillModule(AcousticModule):
    """Teach a copy of a voice to take few steps, by a recipe of one loss.

    Parameters
    ----------
    teacher : str
        A voice that ships, or its folder.
    method : Recipe
        Of `fewstep.core.distill`; not one with a second net to be trained by turns.
    steps : int
        Steps that the student is made for.
    teacher_steps : int
        Even DDIM steps by which the teacher makes pairs.
    target_decay : float
        Of the moving average that consistency recipes compare with.
    own_prosody : float
        Share of the items that are told the predictors' pitch and energy instead of the recording's.
    """

    warmup = 20

    def __init__(
        self,
        *,
        teacher: str,
        method: Recipe,
        steps: int = 2,
        teacher_steps: int = 4,
        target_decay: float = 0.95,
        own_prosody: float = 0.5,
        learning_rate: float = 5e-4,
        total_steps: int = 200,
        ema_decay: float = 0.98,
        seed: int = 0,
    ):
        loaded, betas = load_voice(teacher)
        if not isinstance(method, Recipe) or isinstance(method, FakeRecipe | JudgedRecipe):
            raise UsageError(f"method: expected a recipe of one loss for a voice, got {type(method).__name__}")
        if min(steps, teacher_steps) < 1:
            raise UsageError(f"expected at least one step, got {steps=}, {teacher_steps=}")
        told: Told | None = getattr(method, "told", None)
        if told is not None and told.guidance is not None:
            raise UsageError("a voice has no guidance to be distilled: leave `guidance` out of the recipe")
        student = copy.deepcopy(loaded).requires_grad_(True)
        student.condition_net.requires_grad_(False)
        super().__init__(
            net=student if told is None else _informed(student, told),  # type: ignore[arg-type]
            betas=betas,
            learning_rate=learning_rate,
            total_steps=total_steps,
            ema_decay=ema_decay,
            seed=seed,
        )
        self.method, self.told, self.steps, self.teacher_steps = method, told, steps, teacher_steps
        self.target_decay, self.own_prosody = target_decay, own_prosody
        self.target = copy.deepcopy(self.net).requires_grad_(False).eval()
        object.__setattr__(self, "teacher", loaded)  # not a sub-module: neither trained nor saved

    @property
    def voice(self) -> ProDiff:
        """The averaged ProDiff."""
        return voice(self.ema.module)

    teacher: Any

    def on_fit_start(self) -> None:
        self.teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        voice(self.net).condition_net.eval()  # its dropout would make the frozen condition differ from the teacher's

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Both averages move right after the step."""
        super().optimizer_step(*args, **kwargs)
        with torch.no_grad():
            for mine, theirs in zip(self.target.parameters(), self.net.parameters(), strict=True):
                mine.lerp_(theirs, 1 - self.target_decay)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        x0 = self.teacher.normalise(batch["mel"]) * batch["frame_mask"]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.global_step)
        with torch.no_grad():
            cond = self._told(batch, torch.rand(len(x0), generator=generator).to(x0.device))
        teacher = parameterize.x0(self.teacher, self.path, cond=self.teacher.prepare(cond))
        student, target = (self._student(net).denoise(cond) for net in (self.net, self.target))
        eps = None
        if self.method.pairs:
            eps = torch.randn(x0.shape, generator=generator).to(x0.device)
            grid = times.uniform(self.path, self.teacher_steps)
            x0 = sample(teacher, self.path, times=grid, solver=solvers.ddim(), x=self.path.prior(eps)).x
        items = Items(x0, eps=eps, mask=batch["frame_mask"], iteration=self.global_step)
        loss = self.method.loss(Nets(student, target, teacher), self.path, items, generator).mean()
        if not torch.isfinite(loss):
            raise UsageError(f"the loss is {loss.item()} at step {self.global_step}: try a smaller learning rate")
        self.log("train/loss", loss)
        return loss

    def _student(self, net: nn.Module, *, bounded: bool = False) -> VoiceStudent:
        return VoiceStudent(net, self.path, self.told, self._boundary() if bounded else None)

    def _boundary(self) -> float | None:
        """A consistency recipe's sigma_data; its loss adds the boundary by itself."""
        return getattr(self.method, "sigma_data", None) if hasattr(self.method, "read") else None

    def _told(self, batch: dict[str, Tensor], draws: Tensor) -> Condition:
        recorded = self._prosody(self.teacher, batch)
        return mixed_condition(self.teacher, recorded, batch["tokens"], draws, self.own_prosody)

    def _generate(self, batch: dict[str, Tensor], steps: int) -> Tensor:
        cond = self.voice.condition(batch["tokens"], self._prosody(self.voice, batch))
        return self._student(self.ema.module, bounded=True).speak(cond, steps=steps, seed=self.seed)

    def export(self, folder: str) -> None:
        """Write the averaged student: a voice, or a `VoiceStudent` if it is told more or has a boundary."""
        boundary = {} if self._boundary() is None else {"sigma_data": self._boundary()}
        told = {} if self.told is None else {"told": {"end": self.told.end, "latent": self.told.latent}}
        own = {"_target_": "fewstep.audio.models.prodiff.ProDiff", **voice(self.net).config()}
        model = own if self.told is None else _INFORMED | {"net": own, **self.net.config()}
        kind = STUDENT if boundary or told else "tts"
        config = {"kind": kind, "model": model, "vocoder": "vocos-small"} | boundary | told
        checkpoint.export(folder, self.ema.module, config | self.export_settings())

    def export_settings(self) -> dict:
        return self._path_config() | {"steps": self.steps, "distilled": type(self.method).__name__}


_INFORMED = {"_target_": "fewstep.core.distill.informed.Informed"}


def _informed(net: ProDiff, told: Told) -> Informed:
    return Informed(net, inputs=told.inputs, sites=SITES)


def voice(net: nn.Module) -> ProDiff:
    """The ProDiff in a student, whether it is told more or not."""
    return net.net if isinstance(net, Informed) else net  # type: ignore[return-value]


@dataclass(frozen=True)
class VoiceStudent:
    """A distilled voice and how it is read.

    Parameters
    ----------
    net, path : nn.Module, AffinePath
        The student and its process.
    told : Told, optional
        What it is told beside its time.
    sigma_data : float, optional
        Of the boundary of a consistency model.
    """

    net: nn.Module
    path: AffinePath
    told: Told | None = None
    sigma_data: float | None = None

    @classmethod
    def load(cls, folder: str | Path) -> VoiceStudent:
        """What `VoiceDistillModule.export` wrote.

        Raises
        ------
        UsageError
            If the folder holds something else.
        """
        net, config = checkpoint.load(folder)
        if config["kind"] not in ("tts", STUDENT):
            raise UsageError(f"{folder}: expected a voice or a student of one, this is of kind {config['kind']!r}")
        told = config.get("told")
        return cls(net, build(config["path"]), None if told is None else Told(**told), config.get("sigma_data"))

    def denoise(self, cond: Condition, *, grid: Tensor | None = None) -> Callable[..., Tensor]:
        """``(x, t) -> x0_hat`` for a condition; one that is told where its steps end needs the sampler's times."""
        prepared = voice(self.net).prepare(cond)
        if self.told is not None:
            reader = partial(parameterize.x0, path=self.path, cond=prepared)
            return telling(self.net, self.told, self.path, reader, grid=grid)  # type: ignore[arg-type]
        plain = parameterize.x0(self.net, self.path, cond=prepared)
        return plain if self.sigma_data is None else bounded(plain, self.path, sigma_data=self.sigma_data)

    def speak(self, cond: Condition, *, steps: int, seed: int) -> Tensor:
        """Standardised mel [B, n_mels, T] in even steps of DDIM."""
        grid = times.uniform(self.path, steps)
        out = sample(
            self.denoise(cond, grid=grid), self.path, times=grid, solver=solvers.ddim(), generator=seed,
            shape=(len(cond.frames), voice(self.net).mel.n_mels, cond.frames.shape[-1]), device=cond.frames.device,
        )  # fmt: skip
        return out.x * cond.mask
