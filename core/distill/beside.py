"""Small nets that stand beside a student: what judges its states, and what refines its velocities.

Both see two signals of one shape, stacked in their channels, and a time: a few residual layers, linear for points
[batch, channels], convolutions for signals and pictures.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewstep.core.errors import UsageError


class Beside(nn.Module):
    """``net(pair, t)``: [batch, 2 channels, ...] and [batch] -> [batch, out, ...].

    Parameters
    ----------
    channels
        Of one of the two signals.
    out
        Channels of the answer.
    dims
        Spatial axes: 0 for points, 1 for signals, 2 for pictures, 3 for volumes.
    width, layers
        Channels and number of the residual layers.

    Raises
    ------
    UsageError
        If a size is not positive or there are more than three axes.
    """

    def __init__(self, channels: int, out: int, *, dims: int = 2, width: int = 64, layers: int = 3):
        super().__init__()
        if min(channels, out, width, layers) < 1 or dims not in range(4):
            raise UsageError(
                f"expected positive sizes and dims 0..3, got {channels=}, {out=}, {width=}, {layers=}, {dims=}"
            )
        self.dims = dims
        self.enter = _layer(dims, 2 * channels, width)
        self.time = nn.Linear(16, layers * width)
        self.layers = nn.ModuleList(_layer(dims, width, width) for _ in range(layers))
        self.leave = _layer(dims, width, out)

    def forward(self, pair: Tensor, t: Tensor) -> Tensor:
        """See the class."""
        phase = t.to(pair.dtype).expand(len(pair))[:, None] * (math.pi / 2 * 2.0 ** torch.arange(8, device=pair.device))
        told = self.time(torch.cat([phase.sin(), phase.cos()], dim=1).to(pair.dtype)).chunk(len(self.layers), dim=1)
        h = self.enter(pair)
        for layer, more in zip(self.layers, told, strict=True):
            h = h + layer(F.silu(h + more.reshape(*more.shape, *[1] * self.dims)))
        return self.leave(F.silu(h))


class PairJudge(nn.Module):
    """``judge(x_r, r, x_t) -> scores``, one per place.

    Parameters
    ----------
    channels, dims, width, layers
        See `Beside`.
    """

    def __init__(self, channels: int, *, dims: int = 2, width: int = 64, layers: int = 3):
        super().__init__()
        self.body = Beside(channels, 1, dims=dims, width=width, layers=layers)

    def forward(self, x_r: Tensor, r: Tensor, x_t: Tensor) -> Tensor:
        """[batch, channels, ...] twice and [batch] -> [batch, ...]."""
        return self.body(torch.cat([x_r, x_t], dim=1), r)


class VelocityRefiner(nn.Module):
    """``refiner(x, t, v) -> change of v``; nothing at first.

    Parameters
    ----------
    channels, dims, width, layers
        See `Beside`.
    """

    def __init__(self, channels: int, *, dims: int = 2, width: int = 64, layers: int = 2):
        super().__init__()
        self.body = Beside(channels, channels, dims=dims, width=width, layers=layers)
        nn.init.zeros_(self.body.leave.weight)
        nn.init.zeros_(self.body.leave.bias)

    def forward(self, x: Tensor, t: Tensor, v: Tensor) -> Tensor:
        """[batch, channels, ...] twice and [batch] -> [batch, channels, ...]."""
        return self.body(torch.cat([x, v], dim=1), t)


def _layer(dims: int, channels: int, out: int) -> Any:
    if dims == 0:
        return nn.Linear(channels, out)
    return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](channels, out, 3, padding=1)
