"""A small net from complex spectra to one complex spectrum, for speech enhancement on a CPU.

    x0 = sum_s mask_s * signal_s + rest,     masks and rest complex, one per bin and frame

Bins are folded into channels by two strided convolutions, all deep work is done at the frame rate by one-dimensional
ConvNeXt blocks (as in Vocos, arXiv:2306.00814), and masks are unfolded with skips, as in a U-Net. A norm is over the
channels of one frame, so the net sees `reach` frames to either side and no further: a long recording can be cut into
pieces that overlap by that much without a trace.

Notation: B batch, S signals, F bins, T frames, C channels, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.core.nn.unet import TimeEmbedding


class SpectrumNet(nn.Module):
    """``net(x, t, cond)``, or ``net.predict(y)`` for a net of one signal that is told no time.

    Parameters
    ----------
    bins
        F, a multiple of 4.
    signals
        S: the state and its conditions, or the noisy spectrum alone.
    channels
        C of the convolutions over frequency.
    width, hidden
        W of the blocks over time, and of their perceptrons.
    dilations
        One block each.
    told
        Whether there is a time.

    Raises
    ------
    UsageError
        If a size is not as described.
    """

    def __init__(
        self,
        *,
        bins: int = 256,
        signals: int = 1,
        channels: int = 12,
        width: int = 256,
        hidden: int = 512,
        dilations: Sequence[int] = (1, 2, 4, 1, 2, 4),
        told: bool = False,
    ):
        super().__init__()
        if min(bins, signals, channels, width, hidden, *dilations) < 1 or not dilations or bins % 4:
            raise UsageError(
                f"expected positive sizes, at least one dilation and bins divisible by 4, got {bins=}, {signals=}, "
                f"{channels=}, {width=}, {hidden=}, dilations={list(dilations)}"
            )
        self.bins, self.signals, self.reach = bins, signals, 4 + 3 * sum(dilations)
        self.outer = nn.Conv2d(3 * signals, channels, (5, 3), stride=(2, 1), padding=(2, 1))
        self.inner = nn.Conv2d(channels, channels, (5, 3), stride=(2, 1), padding=(2, 1))
        self.fold = nn.Linear(channels * bins // 4, width)
        self.time = TimeEmbedding(width) if told else None
        self.blocks = nn.ModuleList(Block(width, hidden, d, 1 / len(dilations), told=told) for d in dilations)
        self.norm = nn.LayerNorm(width)
        self.unfold = nn.Linear(width, channels * bins // 4)
        self.up = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.last = nn.Conv2d(2 * channels, 4 * (signals + 1), 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias.zero_()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU

    def forward(self, x: Tensor, t: Tensor | None = None, cond: Tensor | None = None) -> Tensor:
        """Map spectra to a spectrum.

        Parameters
        ----------
        x
            Complex [B, F, T].
        t
            Times [B], for a net that is told one.
        cond
            Complex [B, S - 1, F, T].

        Returns
        -------
        Tensor
            Complex [B, F, T].

        Raises
        ------
        UsageError
            If there are not as many signals as the net was made for.
        """
        signals = x[:, None] if cond is None else torch.cat([x[:, None], cond], 1)
        if signals.shape[1] != self.signals or signals.shape[2] != self.bins:
            raise UsageError(f"expected {self.signals} spectra of {self.bins} bins, got {list(signals.shape[1:3])}")
        outer = functional.gelu(self.outer(_features(signals)))  # [B, C, F/2, T]
        inner = functional.gelu(self.inner(outer))  # [B, C, F/4, T]
        h = self.fold(inner.flatten(1, 2).transpose(1, 2))  # [B, T, W]
        told = None if self.time is None else self.time(t)
        for block in self.blocks:
            h = block(h, told)
        h = functional.gelu(self.unfold(self.norm(h))).transpose(1, 2).unflatten(1, inner.shape[1:3])
        h = functional.gelu(_spread(self.up(torch.cat([h, inner], 1))))  # [B, C, F/2, T]
        masks = _spread(self.last(torch.cat([h, outer], 1)))  # [B, 2 (S + 1), F, T]
        real, imag = masks.float().unflatten(1, (2, -1)).unbind(1)
        return (torch.complex(real, imag) * functional.pad(signals, (0, 0, 0, 0, 0, 1), value=1)).sum(1)


class Block(nn.Module):
    """A dilated depthwise convolution over time, then a perceptron over channels that hears the time."""

    def __init__(self, width: int, hidden: int, dilation: int, scale: float, *, told: bool):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3 * dilation, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width)
        self.told = nn.Linear(width, 2 * width) if told else None
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        """[B, T, W], [B, W] -> [B, T, W]."""
        h = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        if self.told is not None:
            scale, shift = self.told(told)[:, None].chunk(2, 2)
            h = torch.addcmul(shift, h, 1 + scale)
        return x + self.scale * self.down(functional.gelu(self.up(h)))


def _features(signals: Tensor) -> Tensor:
    """Real and imaginary parts, and the logarithm of the magnitude: complex [B, S, F, T] -> [B, 3 S, F, T]."""
    return torch.cat([signals.real, signals.imag, (signals.abs() + 1e-3).log() / 4 + 0.5], 1)


def _spread(x: Tensor) -> Tensor:
    """Channels to bins: [B, 2 C, F, T] -> [B, C, 2 F, T]."""
    return x.unflatten(1, (-1, 2)).transpose(2, 3).flatten(2, 3)
