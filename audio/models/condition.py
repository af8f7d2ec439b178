"""The condition network of ProDiff: phones -> what the denoiser is told about every mel frame.

FastSpeech 2 (Ren et al. 2021, arXiv:2006.04558) without its decoder, as ProDiff uses it (Huang et al. 2022,
arXiv:2207.06389, §4.1): a feed-forward-transformer encoder over phones, a duration predictor, and frame-level pitch
and energy predictors whose values are embedded back. Pitch and energy enter through a convolution over the
continuous value instead of a table of bins, so that no prediction can fall outside the table.

Notation: B batch, L tokens, T frames, H hidden width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Condition:
    """What the denoiser is told, and what the predictors said.

    Attributes
    ----------
    frames : Tensor
        [B, H, T].
    mask : Tensor
        [B, 1, T], 1 at real frames.
    durations : Tensor
        [B, L] frames per token that were used, int64.
    log_durations : Tensor
        [B, L] predicted log(d + 1).
    pitch, voiced, energy : Tensor
        [B, T] predictions: standardised log-F0, voicing logit, standardised log-energy.
    """

    frames: Tensor
    mask: Tensor
    durations: Tensor
    log_durations: Tensor
    pitch: Tensor
    voiced: Tensor
    energy: Tensor


@dataclass(frozen=True)
class Prosody:
    """Values to use instead of the predictors' own: durations [B, L], pitch, voiced (0/1) and energy [B, T]."""

    durations: Tensor
    pitch: Tensor
    voiced: Tensor
    energy: Tensor


@dataclass(frozen=True)
class Control:
    """How a speaker departs from the predictions.

    speed multiplies the rate (2 = twice as fast); pitch and energy are added to the standardised predictions.
    """

    speed: float = 1.0
    pitch: float = 0.0
    energy: float = 0.0


def positions(length: int, channels: int, like: Tensor) -> Tensor:
    """Sinusoidal positions [length, channels] (Vaswani et al. 2017, §3.5)."""
    rates = torch.exp(torch.arange(0, channels, 2, device=like.device) * (-math.log(10000.0) / channels))
    angles = torch.arange(length, device=like.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


class FeedForwardTransformer(nn.Module):
    """Pre-norm self-attention and a convolutional feed-forward layer."""

    def __init__(self, hidden: int, heads: int, filter: int, kernel: int, dropout: float):
        super().__init__()
        self.heads, self.scale = heads, kernel**-0.5
        self.attention_norm, self.filter_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.to_qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.to_out = nn.Linear(hidden, hidden, bias=False)
        self.expand = nn.Conv1d(hidden, filter, kernel, padding=kernel // 2)
        self.contract = nn.Linear(filter, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # [B, L, H], [B, L, 1]
        q, k, v = self.to_qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = mask.bool().transpose(1, 2)[:, None]  # [B, 1, 1, L]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.to_out(mixed))
        h = self.expand((self.filter_norm(x) * mask).transpose(1, 2)).transpose(1, 2)
        return (x + self.dropout(self.contract(F.gelu(h * self.scale)))) * mask


class Predictor(nn.Module):
    """Two convolutions, each with ReLU, LayerNorm and dropout, then a linear layer (FastSpeech 2, §2.3)."""

    def __init__(self, hidden: int, filter: int, kernel: int, outputs: int, dropout: float):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(c, filter, kernel, padding=kernel // 2) for c in (hidden, filter))
        self.norms = nn.ModuleList(nn.LayerNorm(filter) for _ in range(2))
        self.linear = nn.Linear(filter, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # [B, N, H], [B, N, 1] -> [B, N, outputs]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.dropout(norm(conv((x * mask).transpose(1, 2)).relu().transpose(1, 2)))
        return self.linear(x) * mask


class ConditionNet(nn.Module):
    """Tokens in, Condition out.

    Parameters
    ----------
    symbols : int
        Size of the token alphabet; index 0 is padding.
    gradient : float
        Share of the predictors' gradient that reaches the encoder (ProDiff: 0.1).
    """

    def __init__(
        self,
        symbols: int,
        *,
        hidden: int,
        layers: int,
        heads: int,
        filter: int,
        kernel: int,
        predictor_filter: int,
        dropout: float,
        predictor_dropout: float,
        gradient: float = 0.1,
    ):
        super().__init__()
        self.hidden, self.gradient = hidden, gradient
        self.embed = nn.Embedding(symbols, hidden, padding_idx=0)
        nn.init.normal_(self.embed.weight, std=hidden**-0.5)
        self.layers = nn.ModuleList(
            FeedForwardTransformer(hidden, heads, filter, kernel, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.duration = Predictor(hidden, predictor_filter, 3, 1, predictor_dropout)
        self.pitch = Predictor(hidden, predictor_filter, 5, 2, predictor_dropout)
        self.energy = Predictor(hidden, predictor_filter, 5, 1, predictor_dropout)
        self.embed_pitch = nn.Conv1d(2, hidden, 9, padding=4)
        self.embed_energy = nn.Conv1d(1, hidden, 9, padding=4)

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:  # [B, L] -> [B, L, H], [B, L, 1]
        mask = (tokens != 0).unsqueeze(-1).to(self.embed.weight.dtype)
        x = self.embed(tokens) * math.sqrt(self.hidden)
        x = (x + positions(tokens.shape[1], self.hidden, x)) * mask
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x) * mask, mask

    def forward(self, tokens: Tensor, prosody: Prosody | None = None, control: Control | None = None) -> Condition:
        """Condition of a batch.

        Parameters
        ----------
        tokens : Tensor
            int64 [B, L], 0 = padding.
        prosody : Prosody, optional
            Recorded values (training); predictions are used where it is None.
        control : Control, optional
            Departures from the predictions; not together with `prosody`.
        """
        encoded, mask = self.encode(tokens)
        control = control or Control()
        log_durations = self.duration(self._scaled(encoded), mask)[..., 0]
        durations = prosody.durations if prosody else to_frames(log_durations, mask[..., 0], control.speed)
        x, frame_mask = expand(encoded, durations)
        x = x + positions(x.shape[1], self.hidden, x) * frame_mask
        raw = self.pitch(self._scaled(x), frame_mask)
        pitch, voiced = raw[..., 0] + control.pitch, raw[..., 1]
        contour = (prosody.pitch, prosody.voiced) if prosody else (pitch, (voiced > 0).to(pitch.dtype))
        x = x + self._embedded(self.embed_pitch, torch.stack(contour, dim=1), frame_mask)
        energy = self.energy(self._scaled(x), frame_mask)[..., 0] + control.energy
        level = prosody.energy if prosody else energy
        x = x + self._embedded(self.embed_energy, level[:, None], frame_mask)
        x, frame_mask = (x * frame_mask).transpose(1, 2), frame_mask.transpose(1, 2)
        return Condition(x, frame_mask, durations, log_durations, pitch, voiced, energy)

    def _scaled(self, x: Tensor) -> Tensor:
        return x.detach() + self.gradient * (x - x.detach())

    @staticmethod
    def _embedded(conv: nn.Conv1d, values: Tensor, mask: Tensor) -> Tensor:  # [B, C, T] -> [B, T, H]
        return conv(values * mask.transpose(1, 2)).transpose(1, 2)


def to_frames(log_durations: Tensor, mask: Tensor, speed: float) -> Tensor:
    """Whole frames per token whose running sum follows the predicted one, so that rounding never adds up."""
    lengths = (log_durations.exp() - 1).clamp(min=0.0) * mask / speed
    edges = lengths.double().cumsum(dim=1).round().long()
    return torch.diff(edges, dim=1, prepend=edges.new_zeros(len(edges), 1))


def expand(x: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat token i `durations[i]` times: [B, L, H], [B, L] -> [B, T, H] and the frame mask [B, T, 1]."""
    edges = durations.cumsum(dim=1)
    frames = torch.arange(int(edges[:, -1].max().clamp(min=1)), device=x.device)
    index = torch.searchsorted(edges, frames.expand(len(edges), -1).contiguous(), right=True)
    mask = (frames < edges[:, -1:]).unsqueeze(-1).to(x.dtype)
    index = index.clamp(max=x.shape[1] - 1).unsqueeze(-1).expand(-1, -1, x.shape[2])
    return x.gather(1, index) * mask, mask
