"""Where sampling starts: which shape, dtype and device, whose random streams, and the state."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


@dataclass(frozen=True)
class Start:
    """A state of its own memory, the degraded end in its dtype, and the streams of the noise to come."""

    x: Tensor
    y: Tensor | None
    streams: list[torch.Generator]


def start(
    path: AffinePath,
    t: float,
    *,
    shape: Sequence[int] | None,
    x: Tensor | None,
    y: Tensor | None,
    generator: rng.Seed,
    seeds: Sequence[int] | None,
    temperature: float,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Start:
    """Take `x` as the state at time `t`, or draw it from the prior; the arguments are those of `sample`.

    Returns
    -------
    Start

    Raises
    ------
    UsageError
        If the arguments do not say what to draw, or contradict each other.
    """
    like = x if x is not None else y
    shape = _shape(shape, x, y)
    dtype = dtype or (torch.float32 if like is None else like.dtype)
    if not (dtype.is_floating_point or dtype.is_complex):
        raise UsageError(f"expected a real or complex floating-point state, got {dtype}: pass dtype=")
    if not temperature >= 0:
        raise UsageError(f"expected temperature >= 0, got {temperature}")
    device = torch.device(device or ("cpu" if like is None else like.device))
    streams = _streams(generator, seeds, shape[0])
    _check_devices(streams, device)
    y = None if y is None else y.to(device, dtype)
    if x is not None:
        return Start(x.to(device, dtype, copy=True, memory_format=torch.contiguous_format), y, streams)
    return Start(_prior(path, t, rng.normal(shape, streams, dtype, device), y, temperature), y, streams)


def _prior(path: AffinePath, t: float, z: Tensor, y: Tensor | None, temperature: float) -> Tensor:
    """`AffinePath.prior`, written over the noise."""
    a, b, s = (float(value) for value in path.coefficients(t))
    x = z.mul_(temperature * s)
    return x if y is None else x.add_(y, alpha=a + b)


def _check_devices(streams: Sequence[torch.Generator], device: torch.device) -> None:
    for stream in streams:
        if stream.device.type not in ("cpu", device.type):
            raise UsageError(
                f"expected generators on the CPU or on {device} like the state, got one on {stream.device}"
            )


def _shape(shape: Sequence[int] | None, x: Tensor | None, y: Tensor | None) -> tuple[int, ...]:
    like = x if x is not None else y
    shape = tuple(shape if shape is not None else () if like is None else like.shape)
    if not shape or min(shape) < 1:
        raise UsageError(f"expected shape=[batch, ...], x or y to say what to draw, got shape {list(shape)}")
    for name, value in (("x", x), ("y", y)):
        if value is not None and tuple(value.shape) != shape:
            raise UsageError(f"{name}: expected shape {list(shape)} like the state, got {list(value.shape)}")
    return shape


def _streams(generator: rng.Seed, seeds: Sequence[int] | None, n: int) -> list[torch.Generator]:
    if seeds is None:
        return rng.streams(generator, n)
    if generator is not None:
        raise UsageError("expected generator or seeds, got both")
    if len(seeds) != n:
        raise UsageError(f"expected one seed per item, {n}, got {len(seeds)}")
    return rng.seeded(seeds)
