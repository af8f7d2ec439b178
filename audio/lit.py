"""Training of the speech models as LightningModules."""

from __future__ import annotations

from collections.abc import Callable

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fewstep.audio import losses
from fewstep.audio.mel import mel_spectrogram


class VocoderModule(lightning.LightningModule):
    """A vocoder trained first on spectral distances alone, then against discriminators as well.

    Losses and weights follow Vocos (arXiv:2306.00814, §3.3): mel distance, adversarial, feature matching; the
    multi-resolution STFT distance is added because training here is short.

    Parameters
    ----------
    generator, discriminators : nn.Module
        `generator(mel) -> wav` with a `mel` spec; `discriminators(wav) -> judgements`.
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
        generator: nn.Module,
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
        self.generator, self.discriminators = generator, discriminators
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
        from fewstep.core import checkpoint

        model = {"_target_": "fewstep.audio.models.vocos.Vocos", **self.generator.config()}
        checkpoint.export(folder, self.ema.module, {"kind": "vocoder", "model": model})
