"""The denoiser of ProDiff and DiffSinger: a non-causal WaveNet over mel frames.

Liu et al. 2022 (DiffSinger, arXiv:2105.02446) §3.4; Kong et al. 2021 (DiffWave). Gated dilated convolutions with the
time embedding added before and the condition added inside the gate; the sum of the skip outputs gives the answer.

Notation: B batch, M mels, T frames, C channels, H width of the condition, N layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WaveNetLayer(nn.Module):
    """One gated residual layer; its condition arrives already projected."""

    def __init__(self, channels: int, kernel: int, dilation: int):
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(channels, 2 * channels, kernel, padding=padding, dilation=dilation)
        self.out = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, x: Tensor, time: Tensor, cond: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        gate, filter = (self.conv((x + time) * mask) + cond).chunk(2, dim=1)
        residual, skip = self.out(gate.sigmoid() * filter.tanh()).chunk(2, dim=1)
        return (x + residual) * math.sqrt(0.5), skip


class WaveNet(nn.Module):
    """Denoiser of mel spectrograms.

    Parameters
    ----------
    n_mels, hidden, channels, layers, kernel : int
        Sizes M, H, C, N and the kernel of the dilated convolutions.
    dilation_cycle : int
        Dilations run through 1, 2, 4 ... 2^(cycle-1) again and again; 1 is the original's.
    """

    def __init__(
        self, *, n_mels: int, hidden: int, channels: int, layers: int, kernel: int = 3, dilation_cycle: int = 1
    ):
        super().__init__()
        self.channels = channels
        self.enter = nn.Conv1d(n_mels, channels, 1)
        self.time = nn.Sequential(nn.Linear(channels, 4 * channels), nn.Mish(), nn.Linear(4 * channels, channels))
        self.time_out = nn.Linear(channels, layers * channels)
        self.cond = nn.Conv1d(hidden, layers * 2 * channels, 1)
        self.layers = nn.ModuleList(WaveNetLayer(channels, kernel, 2 ** (i % dilation_cycle)) for i in range(layers))
        self.skip = nn.Conv1d(channels, channels, 1)
        self.leave = nn.Conv1d(channels, n_mels, 1)
        for conv in self.modules():
            if isinstance(conv, nn.Conv1d):
                nn.init.kaiming_normal_(conv.weight)
        nn.init.zeros_(self.leave.weight)

    def embed_time(self, t: Tensor) -> Tensor:  # [B] in [0, 1] -> [B, C]
        rates = torch.exp(
            torch.arange(self.channels // 2, device=t.device) * (-math.log(1e4) / (self.channels // 2 - 1))
        )
        angles = 1000.0 * t[:, None].float() * rates
        return self.time(torch.cat([angles.sin(), angles.cos()], dim=1).to(self.enter.weight.dtype))

    def project(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Condition [B, H, T] -> one [B, 2C, T] per layer; the same for every step of a sampling run."""
        return self.cond(frames).chunk(len(self.layers), dim=1)

    def forward(self, x: Tensor, t: Tensor, cond: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        """Answer [B, M, T] to state x [B, M, T] at times t [B], for projected conditions and mask [B, 1, T]."""
        times = self.time_out(F.mish(self.embed_time(t)))[:, :, None].chunk(len(self.layers), dim=1)
        h, skips = self.enter(x).relu(), 0.0
        for layer, time, projected in zip(self.layers, times, cond, strict=True):
            h, skip = layer(h, time, projected, mask)
            skips = skips + skip
        return self.leave(self.skip(skips / math.sqrt(len(self.layers))).relu()) * mask
