"""Losses of the speech models: spectral distances, least-squares GAN terms, and a masked SSIM on spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor

from fewstep.audio.mel import MelSpec, mel_spectrogram
from fewstep.audio.models.discriminators import Judgement

RESOLUTIONS = ((512, 128, 40), (1024, 256, 80), (2048, 512, 128))  # n_fft, hop, mel bands


def stft_distance(wav: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution STFT loss: spectral convergence plus L1 of log magnitudes, mean over three resolutions.

    Yamamoto et al. 2020 (Parallel WaveGAN, arXiv:1910.11480), equations 4-6. wav, target: [B, n]; scalar out.
    """
    total = wav.new_zeros(())
    for n_fft, hop, _ in RESOLUTIONS:
        window = torch.hann_window(n_fft, device=wav.device)
        both = torch.stft(torch.cat([wav, target]), n_fft, hop, window=window, return_complex=True)
        magnitude = (both.real.square() + both.imag.square() + 1e-8).sqrt()
        ours, theirs = magnitude.chunk(2)
        convergence = (theirs - ours).norm(dim=(1, 2)) / theirs.norm(dim=(1, 2)).clamp(min=1e-3)
        total = total + convergence.mean() + (ours.log() - theirs.log()).abs().mean()
    return total / len(RESOLUTIONS)


def mel_distance(wav: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """L1 of log-mel spectrograms, mean over three resolutions up to the Nyquist frequency. wav, target: [B, n]."""
    total = wav.new_zeros(())
    for n_fft, hop, n_mels in RESOLUTIONS:
        spec = MelSpec(sample_rate, n_fft, n_fft, hop, n_mels, 0.0, sample_rate / 2)
        ours, theirs = mel_spectrogram(torch.cat([wav, target]), spec).chunk(2)
        total = total + (ours - theirs).abs().mean()
    return total / len(RESOLUTIONS)


def discriminator_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Hinge loss of the discriminators, mean over them (Vocos §3.3; Zeghidour et al. 2021)."""
    terms = [(1 - r).relu().mean() + (1 + f).relu().mean() for (r, _), (f, _) in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def adversarial_loss(fake: list[Judgement]) -> Tensor:
    """Hinge loss of the generator, mean over the discriminators."""
    return torch.stack([(1 - score).relu().mean() for score, _ in fake]).mean()


def feature_distance(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """L1 between feature maps, each divided by the real map's own mean size (so that no layer dominates)."""
    terms = [
        (r - f).abs().mean() / r.abs().mean().clamp(min=1e-3)
        for (_, reals), (_, fakes) in zip(real, fake, strict=True)
        for r, f in zip(reals, fakes, strict=True)
    ]
    return torch.stack(terms).mean()
