"""Training of the speech models as LightningModules."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fewstep.audio import losses
from fewstep.audio.mel import mel_spectrogram
from fewstep.audio.models.condition import Condition, Prosody
from fewstep.audio.models.generate import generate
from fewstep.audio.models.prodiff import ProDiff
from fewstep.audio.models.tts_losses import duration_losses, masked_mean, mel_losses, prosody_losses
from fewstep.audio.voice import load_voice
from fewstep.core import checkpoint, hub, paths, times
from fewstep.core.distill.progressive import progressive_target
from fewstep.core.distill.segment import jump


class VocoderModule(lightning.LightningModule):
    """A vocoder trained first on spectral distances alone, then against discriminators as well.

    Losses and weights follow Vocos (arXiv:2306.00814, §3.3): mel distance, adversarial, feature matching; the
    multi-resolution STFT distance is added because training here is short.

    Parameters
    ----------
    generator, discriminators : nn.Module
        `generator(mel) -> wav` with a `mel` spec; `discriminators(wav) -> judgements`.
    start : str or None
        A vocoder (a name that ships, a folder or a hub id) to go on from, instead of `generator`.
    adversarial_start : int
        Generator step at which the discriminators come in.
    total_steps : int
        Length of the cosine decay of both learning rates.
    ema_decay : float
        Of the averaged generator, which is what is validated and exported.
    """

    def __init__(
        self,
        *,
        generator: nn.Module | None = None,
        start: str | None = None,
        discriminators: nn.Module,
        learning_rate: float = 5e-4,
        adversarial_learning_rate: float = 2e-4,
        adversarial_start: int = 5000,
        total_steps: int = 10000,
        ema_decay: float = 0.999,
        mel_weight: float = 15.0,
        stft_weight: float = 5.0,
        feature_weight: float = 2.0,
    ):
        super().__init__()
        self.automatic_optimization = False
        if start is not None:
            generator, _ = checkpoint.load(hub.resolve(start, kind="vocoder"), kind="vocoder")
            generator.requires_grad_(True)
        if generator is None:
            raise ValueError("a vocoder needs `generator`, or `start` (a vocoder to go on from), got neither")
        self.generator, self.discriminators = generator.train(), discriminators.train()
        self.ema = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))
        self.learning_rate, self.adversarial_learning_rate = learning_rate, adversarial_learning_rate
        self.adversarial_start, self.total_steps = adversarial_start, total_steps
        self.mel_weight, self.stft_weight, self.feature_weight = mel_weight, stft_weight, feature_weight
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        make: Callable = torch.optim.AdamW
        return [
            make(self.generator.parameters(), self.learning_rate, betas=(0.8, 0.99), weight_decay=0.01),
            make(self.discriminators.parameters(), self.adversarial_learning_rate, betas=(0.8, 0.99)),
        ]

    def training_step(self, wav: Tensor, index: int) -> None:  # [B, n]
        generator, discriminator = self.optimizers()
        step = int(self.steps)
        adversarial = step >= self.adversarial_start
        self._set_rates(generator, discriminator, step)
        fake = self.generator(mel_spectrogram(wav, self.generator.mel))
        if adversarial:
            judged_real, judged_fake = self.discriminators(wav), self.discriminators(fake.detach())
            loss_d = losses.discriminator_loss(judged_real, judged_fake)
            discriminator.zero_grad()
            self.manual_backward(loss_d)
            discriminator.step()
            self.log("train/discriminator", loss_d)
        mel = losses.mel_distance(fake, wav, self.generator.mel.sample_rate)
        stft = losses.stft_distance(fake, wav)
        loss = self.mel_weight * mel + self.stft_weight * stft
        if adversarial:
            self.discriminators.requires_grad_(False)
            real = [(score, [f.detach() for f in features]) for score, features in judged_real]
            judged = self.discriminators(fake)
            matching = losses.feature_distance(real, judged)
            loss = loss + losses.adversarial_loss(judged) + self.feature_weight * matching
            self.log("train/feature", matching)
        generator.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.generator.parameters(), 10.0)
        generator.step()
        self.discriminators.requires_grad_(True)
        self.ema.update_parameters(self.generator)
        self.steps += 1
        self.log_dict({"train/mel": mel, "train/stft": stft}, prog_bar=True)

    def _set_rates(self, generator, discriminator, step: int) -> None:
        decay = 0.5 * (1 + torch.cos(torch.tensor(min(step / self.total_steps, 1.0)) * torch.pi)).item()
        warm = min(1.0, (step + 1) / 200)
        adversarial = step >= self.adversarial_start
        rate = min(self.learning_rate, self.adversarial_learning_rate * 2) if adversarial else self.learning_rate
        generator.param_groups[0]["lr"] = rate * warm * max(decay, 0.05)
        discriminator.param_groups[0]["lr"] = self.adversarial_learning_rate * max(decay, 0.05)

    def validation_step(self, wav: Tensor, index: int) -> None:
        fake = self.ema.module(mel_spectrogram(wav, self.generator.mel))
        self.log("val/mel", losses.mel_distance(fake, wav, self.generator.mel.sample_rate), prog_bar=True)
        self.log("val/stft", losses.stft_distance(fake, wav))

    def export(self, folder: str) -> None:
        """Write the averaged generator as `model.safetensors` and `config.yaml` into `folder`."""
        model = {"_target_": "fewstep.audio.models.vocos.Vocos", **self.generator.config()}
        checkpoint.export(folder, self.ema.module, {"kind": "vocoder", "model": model})


class AcousticModule(lightning.LightningModule):
    """Shared by ProDiff's teacher and student: batches to conditions, averaged weights, rates, validation, export."""

    shift: float = 1.0
    warmup: int = 100

    def __init__(
        self,
        *,
        net: ProDiff,
        betas: tuple[float, float],
        learning_rate: float,
        total_steps: int,
        ema_decay: float,
        seed: int,
    ):
        super().__init__()
        self.net, self.betas, self.seed = net.train(), (float(betas[0]), float(betas[1])), seed
        self.path = paths.vp_linear(*self.betas)
        self.learning_rate, self.total_steps = learning_rate, total_steps
        self.ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)

    def configure_optimizers(self) -> dict:
        trainable = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, self.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def voice(self) -> ProDiff:
        """The averaged ProDiff."""
        return self.ema.module  # type: ignore[return-value]

    def _rate(self, step: int) -> float:
        decay = 0.5 * (1 + math.cos(math.pi * min(step / self.total_steps, 1.0)))
        return min(1.0, (step + 1) / self.warmup) * max(decay, 0.02)

    def _generator(self, index: int) -> torch.Generator:
        """Noise and times of a step depend on the seed and the step alone, so that a resumed run repeats them."""
        return torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + index)

    def _prosody(self, net: ProDiff, batch: dict[str, Tensor]) -> Prosody:
        (_, _), (pitch_mean, pitch_std), (energy_mean, energy_std) = net.statistics.tolist()
        mask = batch["frame_mask"][:, 0]
        pitch = (batch["pitch"] - pitch_mean) / pitch_std * mask
        return Prosody(batch["durations"], pitch, batch["voiced"], (batch["energy"] - energy_mean) / energy_std * mask)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Average right after the step, so that a checkpoint of this step has its average."""
        super().optimizer_step(*args, **kwargs)
        self.ema.update_parameters(self.net)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Mel distance of generated to recorded speech, with recorded prosody, in one to four steps."""
        self._measure(batch, "val")

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """The same on the held-out phrases."""
        self._measure(batch, "test")

    def _measure(self, batch: dict[str, Tensor], prefix: str) -> None:
        target = self.voice.normalise(batch["mel"])
        for steps in (1, 2, 4):
            x0 = self._generate(batch, steps)
            self.log(f"{prefix}/l1_{steps}", masked_mean((x0 - target).abs(), batch["frame_mask"]), prog_bar=True)

    def predict_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Log-mels [B, n_mels, T] of the held-out phrases with their recorded prosody, zero where padded."""
        x0 = self._generate(batch, self.export_settings()["steps"])
        return self.voice.denormalise(x0) * batch["frame_mask"]

    def _generate(self, batch: dict[str, Tensor], steps: int) -> Tensor:
        net = self.ema.module
        cond = net.condition(batch["tokens"], self._prosody(net, batch))
        return generate(net, self.path, cond, steps=steps, seed=self.seed, shift=self.shift)[0]

    def export(self, folder: str) -> None:
        """Write the averaged net as `model.safetensors` and `config.yaml` into `folder`."""
        model = {"_target_": "fewstep.audio.models.prodiff.ProDiff", **self.net.config()}
        checkpoint.export(
            folder, self.ema.module, {"kind": "tts", "model": model, "vocoder": "vocos-small", **self.export_settings()}
        )

    def _path_config(self) -> dict:
        beta_min, beta_max = self.betas
        return {"path": {"_target_": "fewstep.core.paths.vp_linear", "beta_min": beta_min, "beta_max": beta_max}}

    def export_settings(self) -> dict:
        """How the net is to be sampled."""
        return self._path_config() | {"steps": 4}


class ProDiffModule(AcousticModule):
    """The teacher: every loss of the paper, times spread evenly over (0, 1].

    Parameters
    ----------
    net : ProDiff
        What learns, unless `start` is given.
    start : str or None
        A voice (a name that ships, a folder or a hub id) to go on from instead, with its sizes, its path and its
        mel statistics: to train it longer, or to adapt it to another speaker.
    """

    def __init__(
        self,
        *,
        net: ProDiff | None = None,
        start: str | None = None,
        betas: tuple[float, float] = (0.1, 20.0),
        learning_rate: float = 1e-3,
        total_steps: int = 2000,
        ema_decay: float = 0.995,
        seed: int = 0,
    ):
        if start is not None:
            net, betas = load_voice(start)
            net.requires_grad_(True)
        if net is None:
            raise ValueError("a teacher needs `net`, or `start` (a voice to go on from), got neither")
        super().__init__(
            net=net, betas=betas, learning_rate=learning_rate, total_steps=total_steps, ema_decay=ema_decay, seed=seed
        )
        self.has_statistics = start is not None

    def on_fit_start(self) -> None:
        if self.global_step == 0 and not self.has_statistics:
            values = self.trainer.datamodule.statistics()
            self.net.set_statistics(values)
            self.ema.module.set_statistics(values)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        prosody = self._prosody(self.net, batch)
        cond = self.net.condition(batch["tokens"], prosody)
        x0 = self.net.normalise(batch["mel"]) * batch["frame_mask"]
        generator = self._generator(self.global_step)
        strata = torch.arange(1, len(x0) + 1, device=self.device) - torch.rand(
            len(x0), generator=generator, device=self.device
        )
        t = strata / len(x0)
        eps = torch.randn(x0.shape, generator=generator, device=self.device)
        guess = self.net(self.path.sample(x0, eps, t), t, cond)
        parts = mel_losses(guess, x0, batch["frame_mask"])
        parts |= duration_losses(cond.log_durations, batch["durations"], batch["tokens"])
        parts |= prosody_losses(cond, prosody.pitch, prosody.voiced, prosody.energy)
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        return torch.stack(list(parts.values())).sum()


class ProDiffStudentModule(AcousticModule):
    """Progressive distillation of a teacher into half its steps; only the denoiser learns.

    Parameters
    ----------
    teacher : str
        A voice that ships, or its folder. Its weights start the student; it is kept outside the student's parameters
        and checkpoints.
    steps : int
        Steps of the student; the teacher takes twice as many.
    shift : float
        Below 1 moves the student's times, which are spread evenly otherwise, towards the data
        (`fewstep.core.times.shift`), where a second look has more to see; the teacher's half steps move with them.
    data_weight : float
        Weight of the mel losses to the recording itself, beside the distance to the teacher's target; the paper's
        student has none (0).
    on_policy : bool
        Reach later times by the student's own steps from the prior, as it will when it speaks; otherwise (the paper)
        by adding noise to the recording, which tells the net more than it will be told.
    own_prosody : float
        Share of the items that are told the predictors' pitch and energy, as when it speaks, instead of the
        recording's; durations stay the recording's, so that frames match.
    """

    def __init__(
        self,
        *,
        teacher: str,
        steps: int = 2,
        shift: float = 1.0,
        data_weight: float = 10.0,
        on_policy: bool = True,
        own_prosody: float = 0.5,
        learning_rate: float = 2e-4,
        total_steps: int = 400,
        ema_decay: float = 0.99,
        seed: int = 0,
    ):
        loaded, betas = load_voice(teacher)
        student = copy.deepcopy(loaded).requires_grad_(True)
        student.condition_net.requires_grad_(False)
        super().__init__(
            net=student,
            betas=betas,
            learning_rate=learning_rate,
            total_steps=total_steps,
            ema_decay=ema_decay,
            seed=seed,
        )
        if steps < 1:
            raise ValueError(f"a student has at least one step, got steps={steps}")
        if not 0 <= own_prosody <= 1:
            raise ValueError(f"own_prosody is a share in [0, 1], got {own_prosody}")
        self.steps, self.shift, self.data_weight, self.on_policy = steps, shift, data_weight, on_policy
        self.own_prosody = own_prosody
        object.__setattr__(self, "teacher", loaded)  # not a sub-module: neither trained nor saved

    def on_fit_start(self) -> None:
        self.teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        self.net.condition_net.eval()  # its dropout would make the frozen condition differ from the teacher's

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        x0 = self.net.normalise(batch["mel"]) * batch["frame_mask"]
        generator = self._generator(self.global_step)
        number = torch.randint(1, self.steps + 1, (len(x0),), generator=generator, device=self.device)
        t, middle, end = (self._time(number - done) for done in (0, 0.5, 1))
        eps = torch.randn(x0.shape, generator=generator, device=self.device)
        with torch.no_grad():
            cond = self._condition(batch, torch.rand(len(x0), generator=generator, device=self.device))
            told = self.teacher.prepare(cond)
            x = self._roll(x0, eps, number, cond) if self.on_policy else self.path.sample(x0, eps, t)
        target = progressive_target(lambda x, t: self.teacher(x, t.float(), told), self.path, x, t, middle, end)
        guess = self.net(x, t, cond)
        loss = masked_mean((guess - target).abs(), batch["frame_mask"])
        self.log("train/l1", loss)
        if self.data_weight:
            parts = mel_losses(guess, x0, batch["frame_mask"])
            self.log_dict({f"train/data_{name}": value for name, value in parts.items()})
            loss = loss + self.data_weight * torch.stack(list(parts.values())).sum()
        return loss

    def _condition(self, batch: dict[str, Tensor], draws: Tensor) -> Condition:
        recorded = self._prosody(self.teacher, batch)
        return mixed_condition(self.teacher, recorded, batch["tokens"], draws, self.own_prosody)

    def _roll(self, x0: Tensor, eps: Tensor, number: Tensor, cond: Condition) -> Tensor:
        """States at times number / steps, reached from the prior by the student's own DDIM steps."""
        everyone = torch.ones_like(number, dtype=x0.dtype)
        x, told = self.path.sample(x0, eps, everyone), self.net.prepare(cond)
        for k in range(self.steps, 1, -1):
            t, r = self._time(everyone * k), self._time(everyone * (k - 1))
            stepped = jump(self.path, x, self.net(x, t, told), t, r)
            x = torch.where((number < k)[:, None, None], stepped, x)
        return x

    def _time(self, number: Tensor) -> Tensor:
        """The time before which `number` of the student's steps are left; halves are the teacher's."""
        return times.shift(number / self.steps, self.shift)

    def export_settings(self) -> dict:
        return self._path_config() | {"steps": self.steps, "shift": self.shift}


def mixed_condition(net: ProDiff, recorded: Prosody, tokens: Tensor, draws: Tensor, own_prosody: float) -> Condition:
    """What the net is told: recorded prosody; where a draw [B] is below `own_prosody`, predicted pitch and energy."""
    said = net.condition(tokens, recorded)
    if not own_prosody:
        return said
    own = (draws < own_prosody)[:, None]
    voiced = (said.voiced > 0).to(said.pitch.dtype)
    energy = net.condition(tokens, Prosody(recorded.durations, said.pitch, voiced, recorded.energy)).energy
    pairs = ((said.pitch, recorded.pitch), (voiced, recorded.voiced), (energy, recorded.energy))
    mixed = (torch.where(own, ours, theirs) for ours, theirs in pairs)
    return net.condition(tokens, Prosody(recorded.durations, *mixed))
