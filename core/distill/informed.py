"""A student that is told more than its time: where its step ends, a guidance weight, a latent.

Any net serves: the numbers go through a small perceptron, whose output is added, projected, to the channels of the
net's own linear and convolutional layers. Projections start at 0, so that the student starts as its teacher.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise

_CHANNEL = {nn.Linear: -1, nn.Conv1d: 1, nn.Conv2d: 1, nn.Conv3d: 1}


@dataclass(frozen=True)
class Told:
    """What a student is told beside the state and its time.

    Parameters
    ----------
    end
        The time at which its step ends (`r`).
    guidance
        Lowest and highest guidance weight (`w`) that it learns, or None.
    latent
        Numbers of a standard normal latent (`z`).
    """

    end: bool = False
    guidance: tuple[float, float] | None = None
    latent: int = 0

    @property
    def inputs(self) -> int:
        """How many numbers that is."""
        return int(self.end) + int(self.guidance is not None) + self.latent

    def numbers(
        self,
        path: AffinePath,
        x: Tensor,
        *,
        r: Tensor | None = None,
        w: Tensor | None = None,
        z: Tensor | None = None,
    ) -> Tensor:
        """[batch, inputs], each about in [-1, 1] or standard normal.

        Parameters
        ----------
        path
            The process; an end is told as the angle of s against a, in quarter turns.
        x
            The state; its batch, device and dtype count.
        r, w, z
            End [batch] or scalar (default 0, the data), guidance weight [batch] or scalar (default 1, off, or the
            nearest that was learnt), latent [batch, latent] (default 0).
        """
        real, columns = x.real.dtype if x.is_complex() else x.dtype, []
        if self.end:
            a, _, s = path.coefficients(x.new_zeros(()).real if r is None else r)
            columns.append((torch.atan2(s, a) * (2 / math.pi)).to(x.device, real).expand(len(x))[:, None])
        if self.guidance is not None:
            low, high = self.guidance
            given = torch.as_tensor(min(max(1.0, low), high) if w is None else w, device=x.device)
            columns.append(((given - low) / max(high - low, 1e-9)).to(real).expand(len(x))[:, None])
        if self.latent:
            columns.append(torch.zeros(len(x), self.latent, device=x.device) if z is None else z.to(x.device, real))
        return torch.cat(columns, dim=1).to(real)

    def weights(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Random guidance weights [n] to learn from, None if there are none."""
        if self.guidance is None:
            return None
        low, high = self.guidance
        return low + (high - low) * torch.rand(n, generator=generator)


def telling(
    net: "Informed",
    told: Told,
    path: AffinePath,
    read: Callable[[Callable[..., Tensor]], Denoise],
    *,
    grid: Tensor | None = None,
    w: Tensor | float | None = None,
    latent: Callable[[Tensor], Tensor] | None = None,
) -> Callable[..., Tensor]:
    """A denoiser ``(x, t, r=None, w=None, z=None) -> x0_hat`` of a student that is told more than its time.

    Parameters
    ----------
    net, told, path
        The student, what it is told, and its process.
    read
        Net -> denoiser: the parameterisation's adapter, with `y` and `cond`.
    grid
        Times of the sampler that will ask: a step ends at the next of them, where no `r` is given. None: at the data.
    w
        Guidance weight, where none is given with the call.
    latent
        ``latent(x) -> z`` [batch, latent], drawn for each call; default 0.
    """

    def denoise(x: Tensor, t: Tensor, **more: Any) -> Tensor:
        if told.end and grid is not None and more.get("r") is None:
            more["r"] = grid[grid < float(t.reshape(-1)[0]) * (1 - 1e-6)].max().to(t)
        if told.guidance is not None and more.get("w") is None:
            more["w"] = w
        if told.latent and latent is not None and more.get("z") is None:
            more["z"] = latent(x)
        return read(net.told(told.numbers(path, x, **more)))(x, t)

    return denoise


class Informed(nn.Module):
    """``net(x, t)`` or ``net(x, t, cond)`` that is told numbers by ``told(numbers)``.

    Parameters
    ----------
    net
        Any net of linear and convolutional layers.
    inputs
        How many numbers it is told.
    width
        Of the perceptron that embeds them.
    sites
        Regular expression for the names of the layers that are told; default: all but the last.

    Raises
    ------
    UsageError
        If no layer answers to `sites`, or nothing is told.
    """

    def __init__(self, net: nn.Module, *, inputs: int, width: int = 64, sites: str | None = None):
        super().__init__()
        if inputs < 1:
            raise UsageError(f"expected at least one number to be told, got {inputs=}")
        layers = {name: module for name, module in net.named_modules() if type(module) in _CHANNEL}
        names = list(layers)[:-1] if sites is None else [name for name in layers if re.fullmatch(sites, name)]
        if not names:
            there = ", ".join(list(layers)[:8]) or "none"
            raise UsageError(f"no linear or convolutional layer to tell answers to {sites!r}: there are {there} ...")
        self.net, self.inputs = net, inputs
        self._sizes = {"inputs": inputs, "width": width, "sites": sites}
        self.embed = nn.Sequential(nn.Linear(9 * inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.project = nn.ModuleDict()
        for name in names:
            layer = layers[name]
            out = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            projection = nn.Linear(width, int(out))
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)
            self.project[_key(name)] = projection
        self._now: Tensor | None = None
        for name in names:
            layers[name].register_forward_hook(_Add(self, _key(name), _CHANNEL[type(layers[name])]))

    def config(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this module, but for `net`."""
        return {key: value for key, value in self._sizes.items() if value is not None}

    def told(self, numbers: Tensor) -> Callable[..., Tensor]:
        """The net, told these numbers [batch, inputs].

        Raises
        ------
        UsageError
            If there are more or fewer.
        """
        if numbers.ndim != 2 or numbers.shape[1] != self.inputs:
            raise UsageError(f"this student is told [batch, {self.inputs}], got {list(numbers.shape)}")

        def net(*arguments: Any) -> Tensor:
            octaves = 2.0 ** torch.arange(4, device=numbers.device, dtype=numbers.dtype)
            phase = (numbers[:, :, None] * octaves).flatten(1)
            self._now = self.embed(torch.cat([numbers, phase.sin(), phase.cos()], dim=1))
            try:
                return self.net(*arguments)
            finally:
                self._now = None

        return net

    def forward(self, *arguments: Any) -> Tensor:
        """The net, told nothing: the teacher's layers as they are now."""
        return self.net(*arguments)


class _Add:
    """Adds the projected numbers to a layer's output; an object, so that copies of the module are whole."""

    def __init__(self, owner: Informed, key: str, channel: int):
        self.owner, self.key, self.channel = owner, key, channel

    def __call__(self, module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        now = self.owner._now
        if now is None:
            return output
        more = self.owner.project[self.key](now).to(output.dtype)
        if self.channel == 1:
            return output + more.reshape(*more.shape, *[1] * (output.ndim - 2))
        return output + more.reshape(len(more), *[1] * (output.ndim - 2), -1)


def _key(name: str) -> str:
    return name.replace(".", "/") or "net"
