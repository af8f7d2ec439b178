"""Log-mel spectrograms, described by a MelSpec that travels inside every speech model's config.

Frame k covers samples k*hop .. (k+1)*hop (reflect padding of (n_fft - hop)/2 on both sides, no centring), so a wav
of n*hop samples has exactly n frames: the convention of HiFi-GAN (Kong et al. 2020), CoMoSpeech and Grad-TTS.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class MelSpec:
    """How a log-mel spectrogram is made.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, win, hop : int
        Samples; the window is a periodic Hann window.
    n_mels : int
        Number of Slaney-type mel bands between `f_min` and `f_max` (Hz).
    log : {"ln", "log10"}
        Base of the logarithm.
    floor : float
        Magnitudes are clamped to it before the logarithm.

    Raises
    ------
    ValueError
        For sizes or frequencies that cannot be.
    """

    sample_rate: int = 22050
    n_fft: int = 1024
    win: int = 1024
    hop: int = 256
    n_mels: int = 80
    f_min: float = 0.0
    f_max: float = 8000.0
    log: Literal["ln", "log10"] = "ln"
    floor: float = 1e-5

    def __post_init__(self) -> None:
        if min(self.sample_rate, self.n_fft, self.hop, self.n_mels) < 1 or not 0 < self.win <= self.n_fft:
            raise ValueError(f"MelSpec wants positive sizes and win <= n_fft, got {self}")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(f"MelSpec wants 0 <= f_min < f_max <= sample_rate / 2, got {self}")
        if self.log not in ("ln", "log10"):
            raise ValueError(f"MelSpec.log is 'ln' or 'log10', got {self.log!r}")

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop


def _hz(mel: Tensor) -> Tensor:
    """Slaney's mel scale to Hz: linear below 1 kHz (15 mel), 27 mel per factor of 6.4 above."""
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


def _mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) * 27 / math.log(6.4)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept must serve training too, whoever asks first
def _filters(spec: MelSpec) -> Tensor:
    """Triangles of unit area [n_mels, n_fft // 2 + 1], those of Slaney's Auditory Toolbox.

    Equal to librosa's (tested); written out because importing librosa takes seconds and every command needs this.
    """
    edges = _hz(torch.linspace(_mel(spec.f_min), _mel(spec.f_max), spec.n_mels + 2, dtype=torch.float64))
    bins = torch.linspace(0, spec.sample_rate / 2, spec.n_fft // 2 + 1, dtype=torch.float64)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)).clamp(min=0)
    return (triangles * 2 / (upper - lower)).float()


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)
def _inverse_filters(spec: MelSpec) -> Tensor:
    return torch.linalg.pinv(_filters(spec).double()).float()


def stft(wav: Tensor, spec: MelSpec) -> Tensor:
    """Complex STFT of `wav` [batch, n] as [batch, n_fft // 2 + 1, n // hop]; short audio is padded with zeros."""
    pad = (spec.n_fft - spec.hop) // 2
    sides = (pad, spec.n_fft - spec.hop - pad)
    wav = torch.nn.functional.pad(wav, sides, mode="reflect" if wav.shape[-1] > max(sides) else "constant")
    window = torch.hann_window(spec.win, device=wav.device)
    return torch.stft(wav, spec.n_fft, spec.hop, spec.win, window, center=False, return_complex=True)


def magnitude(wav: Tensor, spec: MelSpec) -> Tensor:
    """Magnitude STFT of `wav` [..., n] as [..., n_fft // 2 + 1, n // hop], float32."""
    pad = (spec.n_fft - spec.hop) // 2
    if wav.shape[-1] <= pad:
        raise ValueError(f"audio of {wav.shape[-1]} samples is too short: more than {pad} are needed")
    spectrum = stft(wav.reshape(-1, wav.shape[-1]).float(), spec)
    power = spectrum.real.square() + spectrum.imag.square()
    return (power + 1e-9).sqrt().reshape(*wav.shape[:-1], power.shape[-2], power.shape[-1])


def mel_spectrogram(wav: Tensor, spec: MelSpec) -> Tensor:
    """Log-mel spectrogram.

    Parameters
    ----------
    wav : Tensor
        [..., n] in [-1, 1] at `spec.sample_rate`.
    spec : MelSpec
        What to compute.

    Returns
    -------
    Tensor
        [..., n_mels, n // hop], float32, in units of `spec.log`.

    Raises
    ------
    ValueError
        If the audio is shorter than half a window.
    """
    mel = _filters(spec).to(wav.device) @ magnitude(wav, spec)
    log = mel.clamp(min=spec.floor).log()
    return log if spec.log == "ln" else log / torch.log(torch.tensor(10.0))


def mel_to_magnitude(mel: Tensor, spec: MelSpec) -> Tensor:
    """Least-squares magnitude spectrum [..., n_fft // 2 + 1, frames] of a log-mel spectrogram (for Griffin-Lim)."""
    linear = mel.exp() if spec.log == "ln" else torch.pow(10.0, mel)
    return (_inverse_filters(spec).to(mel.device) @ linear).clamp(min=0.0)
