"""A Fourier-head vocoder: log-mel -> complex STFT -> waveform, all work at the frame rate.

Siuzdak 2023, "Vocos: closing the gap between time-domain and Fourier-based neural vocoders" (arXiv:2306.00814):
ConvNeXt blocks at frame rate, a linear head for log-magnitude and phase, and an inverse STFT.

Notation: B batch, M mels, T frames, C channels, F = n_fft / 2 + 1.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn

from fewstep.audio.mel import MelSpec, mel_to_magnitude, stft


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer MLP over channels, with a learned residual scale."""

    def __init__(self, channels: int, hidden: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up = nn.Linear(channels, hidden)
        self.down = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T]
        h = self.norm(self.depthwise(x).transpose(1, 2))
        h = self.down(nn.functional.gelu(self.up(h))) * self.scale
        return x + h.transpose(1, 2)


class InverseSTFT(nn.Module):
    """Overlap-add synthesis whose n frames give exactly n * hop samples (the layout of `audio.mel`)."""

    def __init__(self, n_fft: int, hop: int):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:  # complex [B, F, T] -> [B, T * hop]
        frames = torch.fft.irfft(spectrum, n=self.n_fft, dim=1) * self.window[:, None]
        squares = self.window.square()[None, :, None].expand(1, -1, spectrum.shape[-1])
        wav, envelope = self._overlap_add(frames), self._overlap_add(squares)
        pad = (self.n_fft - self.hop) // 2
        keep = slice(pad, pad + spectrum.shape[-1] * self.hop)
        return wav[:, keep] / envelope[:, keep].clamp(min=1e-4)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        length = (frames.shape[-1] - 1) * self.hop + self.n_fft
        folded = nn.functional.fold(frames, (1, length), (1, self.n_fft), stride=(1, self.hop))
        return folded[:, 0, 0]


class Vocos(nn.Module):
    """Mel-to-waveform generator.

    Parameters
    ----------
    channels, hidden, layers : int
        Width of the residual stream, of the MLPs, and the number of ConvNeXt blocks.
    mel : mapping or MelSpec, optional
        The spectrogram that it reads; also sets n_fft and hop of the head.
    refine : int
        Fast Griffin-Lim iterations (Perraudin et al. 2013) after the net, outside training: they start from the net's
        phases and make them agree with the magnitudes that the mel itself gives.

    Notes
    -----
    `forward(mel [B, n_mels, T])` gives wav [B, T * hop]. The magnitude is exp(head) clipped at 100 (paper, §3.2).
    """

    def __init__(
        self,
        *,
        channels: int = 256,
        hidden: int = 768,
        layers: int = 6,
        mel: dict | MelSpec | None = None,
        refine: int = 0,
    ):
        super().__init__()
        if refine < 0:
            raise ValueError(f"refine is a number of iterations, 0 or more, got {refine}")
        self.refine = refine
        self.mel = mel if isinstance(mel, MelSpec) else MelSpec(**(mel or {}))
        self.embed = nn.Conv1d(self.mel.n_mels, channels, 7, padding=3)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.blocks = nn.ModuleList(ConvNeXtBlock(channels, hidden, 1.0 / layers) for _ in range(layers))
        self.final_norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, self.mel.n_fft + 2)
        self.istft = InverseSTFT(self.mel.n_fft, self.mel.hop)
        self.apply(_initialise)

    def config(self) -> dict:
        """Keyword arguments that rebuild this module."""
        block = self.blocks[0]
        sizes = {"channels": self.norm.normalized_shape[0], "hidden": block.up.out_features, "layers": len(self.blocks)}
        return sizes | {"mel": asdict(self.mel), "refine": self.refine}

    def spectrum(self, mel: Tensor) -> Tensor:
        """Complex STFT [B, F, T] of the waveform to be."""
        x = self.norm(self.embed(mel).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        log_magnitude, phase = self.head(self.final_norm(x.transpose(1, 2))).transpose(1, 2).chunk(2, dim=1)
        magnitude = log_magnitude.exp().clamp(max=1e2)
        return torch.complex(magnitude * phase.cos(), magnitude * phase.sin())

    def forward(self, mel: Tensor) -> Tensor:
        spectrum = self.spectrum(mel)
        if self.refine and not self.training:
            spectrum = self._refined(spectrum, mel_to_magnitude(mel, self.mel))
        return self.istft(spectrum)

    def _refined(self, spectrum: Tensor, target: Tensor, momentum: float = 0.99) -> Tensor:
        previous = torch.zeros_like(spectrum)
        spectrum = target * unit(spectrum)
        for _ in range(self.refine):
            consistent = stft(self.istft(spectrum), self.mel)
            spectrum = target * unit(consistent - momentum / (1 + momentum) * previous)
            previous = consistent
        return spectrum


def unit(spectrum: Tensor) -> Tensor:
    """Phase factors of a complex tensor."""
    return spectrum / spectrum.abs().clamp(min=1e-12)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
