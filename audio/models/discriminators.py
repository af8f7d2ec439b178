"""Discriminators for vocoder training: periods of the waveform and magnitudes of several STFTs.

Multi-period: Kong et al. 2020 (HiFi-GAN, arXiv:2010.05646) §2.3. Multi-resolution: Jang et al. 2021 (UnivNet,
arXiv:2106.07889) §2.2. Both narrow enough to train beside a small generator on a CPU.
Each sub-discriminator returns its score map and the list of its feature maps (for feature matching).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Judgement = tuple[Tensor, list[Tensor]]


class PeriodDiscriminator(nn.Module):
    """2-D convolutions over a waveform folded into rows of one period."""

    def __init__(self, period: int, channels: int):
        super().__init__()
        self.period = period
        widths = [1, channels, 2 * channels, 4 * channels, 8 * channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0))) for a, b in itertools.pairwise(widths)
        )
        self.last = weight_norm(nn.Conv2d(widths[-1], widths[-1], (5, 1), padding=(2, 0)))
        self.post = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wav: Tensor) -> Judgement:  # [B, n]
        wav = nn.functional.pad(wav, (0, -wav.shape[-1] % self.period), mode="reflect")
        x = wav.reshape(wav.shape[0], 1, -1, self.period)
        return _judge(x, [*self.layers, self.last], self.post)


class ResolutionDiscriminator(nn.Module):
    """2-D convolutions over a compressed STFT magnitude."""

    def __init__(self, n_fft: int, channels: int):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, channels, (7, 5), stride, padding=(3, 2)))
            for a, stride in [(1, (2, 2)), (channels, (2, 1)), (channels, (2, 2)), (channels, (2, 1))]
        )
        self.last = weight_norm(nn.Conv2d(channels, channels, 3, padding=1))
        self.post = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wav: Tensor) -> Judgement:  # [B, n]
        stft = torch.stft(wav, self.n_fft, self.n_fft // 4, window=self.window, return_complex=True)
        magnitude = (stft.real.square() + stft.imag.square() + 1e-6).pow(0.15)  # |X|^0.3 evens out the levels
        return _judge(magnitude[:, None], [*self.layers, self.last], self.post)


def _judge(x: Tensor, layers: list[nn.Module], post: nn.Module) -> Judgement:
    features = []
    for layer in layers:
        x = nn.functional.leaky_relu(layer(x), 0.1)
        features.append(x)
    return post(x).flatten(1), features


class Discriminators(nn.Module):
    """All sub-discriminators; `forward(wav [B, n])` lists their judgements."""

    def __init__(
        self,
        *,
        periods: tuple[int, ...] = (2, 3, 5, 7, 11),
        resolutions: tuple[int, ...] = (512, 1024, 2048),
        period_channels: int = 16,
        resolution_channels: int = 12,
    ):
        super().__init__()
        self.all = nn.ModuleList(
            [PeriodDiscriminator(p, period_channels) for p in periods]
            + [ResolutionDiscriminator(n, resolution_channels) for n in resolutions]
        )

    def forward(self, wav: Tensor) -> list[Judgement]:
        return [d(wav) for d in self.all]
