"""ProDiff: text to mel spectrogram in two network calls.

Huang et al. 2022, "ProDiff: progressive fast diffusion model for high-quality text-to-speech" (arXiv:2207.06389).
The denoiser predicts the clean mel x0 itself; the noise schedule of the paper is the continuous linear VP path at
equal times, so that any number of steps can be asked for.

What differs from the published code, on purpose: the mel is standardised before diffusion (it was diffused raw),
the student is told the time of the state that it sees (it was told the time two steps later), predictions cannot
leave their range, dilations cycle through 1, 2, 4, and durations are rounded on their running sum.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from fewstep.audio.mel import MelSpec
from fewstep.audio.models.condition import Condition, ConditionNet, Control, Prosody
from fewstep.audio.models.wavenet import WaveNet
from fewstep.audio.text.symbols import SYMBOLS


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of log-mel values, of log-F0 (Hz) where voiced, and of log-energy."""

    mel: tuple[float, float]
    pitch: tuple[float, float]
    energy: tuple[float, float]


class ProDiff(nn.Module):
    """Condition network and denoiser.

    Parameters
    ----------
    hidden, encoder_layers, heads, filter, kernel, predictor_filter : int
        Sizes of the condition network.
    channels, layers, dilation_cycle : int
        Sizes of the WaveNet denoiser.
    mel : mapping or MelSpec, optional
        The spectrogram that it makes.
    """

    def __init__(
        self,
        *,
        hidden: int = 192,
        encoder_layers: int = 4,
        heads: int = 2,
        filter: int = 384,
        kernel: int = 5,
        predictor_filter: int = 160,
        dropout: float = 0.1,
        predictor_dropout: float = 0.3,
        channels: int = 128,
        layers: int = 12,
        dilation_cycle: int = 3,
        mel: dict | MelSpec | None = None,
    ):
        super().__init__()
        self.mel = mel if isinstance(mel, MelSpec) else MelSpec(**(mel or {}))
        self._sizes = {
            "hidden": hidden,
            "encoder_layers": encoder_layers,
            "heads": heads,
            "filter": filter,
            "kernel": kernel,
            "predictor_filter": predictor_filter,
            "channels": channels,
            "layers": layers,
            "dilation_cycle": dilation_cycle,
        }
        self.condition_net = ConditionNet(
            len(SYMBOLS),
            hidden=hidden,
            layers=encoder_layers,
            heads=heads,
            filter=filter,
            kernel=kernel,
            predictor_filter=predictor_filter,
            dropout=dropout,
            predictor_dropout=predictor_dropout,
        )
        self.denoiser = WaveNet(
            n_mels=self.mel.n_mels, hidden=hidden, channels=channels, layers=layers, dilation_cycle=dilation_cycle
        )
        self.register_buffer("statistics", torch.tensor([[0.0, 1.0]] * 3))

    def config(self) -> dict:
        """Keyword arguments that rebuild this module."""
        return self._sizes | {"mel": asdict(self.mel)}

    def set_statistics(self, statistics: Statistics) -> None:
        """Keep the training data's statistics beside the weights."""
        values = [statistics.mel, statistics.pitch, statistics.energy]
        self.statistics.copy_(torch.tensor(values, dtype=self.statistics.dtype))

    def normalise(self, mel: Tensor) -> Tensor:
        """Log-mel -> x0, the state space of the path."""
        return (mel - self.statistics[0, 0]) / self.statistics[0, 1]

    def denormalise(self, x0: Tensor) -> Tensor:
        """x0 -> log-mel."""
        return x0 * self.statistics[0, 1] + self.statistics[0, 0]

    def condition(self, tokens: Tensor, prosody: Prosody | None = None, control: Control | None = None) -> Condition:
        """See `ConditionNet.forward`."""
        return self.condition_net(tokens, prosody, control)

    def forward(self, x: Tensor, t: Tensor, cond: Condition | tuple) -> Tensor:
        """Estimate of x0 [B, n_mels, T] from the state x at time(s) t (scalar or [B]).

        `cond` is a Condition, or what `prepare` made of it (to project it once for many steps).
        """
        projected, mask = self.prepare(cond) if isinstance(cond, Condition) else cond
        return self.denoiser(x, t.expand(len(x)) if t.ndim == 0 else t, projected, mask)

    def prepare(self, cond: Condition) -> tuple[tuple[Tensor, ...], Tensor]:
        """Project a condition for all layers at once."""
        return self.denoiser.project(cond.frames), cond.mask
