"""What a denoiser may answer and how it is refused; who is asked; how times and weights reach a device."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.types import Denoise


def picked(denoise: Denoise, times: Iterable[float]) -> list[Denoise]:
    """The denoiser of each time: what its `pick` says if it has one, else always the same.

    Parameters
    ----------
    denoise
        ``denoise(x, t)``, perhaps with ``pick(t: float) -> denoise``, see `fewstep.core.guide.stitch`.
    times
        Where it will be asked.

    Returns
    -------
    list of callable
        One per time.
    """
    pick = getattr(denoise, "pick", None)
    return [denoise if pick is None else pick(t) for t in times]


def check_answer(answer: Any, x: Tensor, who: str) -> None:
    """Refuse an answer that cannot be written into the state.

    Parameters
    ----------
    answer
        Whatever came.
    x
        The state.
    who
        Named in the message.

    Raises
    ------
    UsageError
        If it is no tensor, or of another shape, device or kind.
    """
    if not isinstance(answer, Tensor) or answer.shape != x.shape:
        got = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UsageError(f"expected {who} to return a tensor shaped like the state {list(x.shape)}, got {got}")
    if answer.dtype is not x.dtype and answer.is_complex() and not x.is_complex():
        raise UsageError(f"expected {who} to return real numbers like the state, got {answer.dtype}")
    if answer.device != x.device:
        raise UsageError(f"expected {who} to return a tensor on {x.device} like the state, got {answer.device}")


def check_finite(value: Tensor, step: int, t: float, path: str, what: str = "denoise returned") -> None:
    """Refuse NaN and infinity; waits for the device.

    Parameters
    ----------
    value
        Any tensor.
    step, t, path, what
        Named in the message.

    Raises
    ------
    UsageError
        If a number is not finite.
    """
    if not bool(torch.isfinite(value).all()):
        raise not_finite(step, t, path, what)


def not_finite(step: int, t: float, path: str, what: str = "denoise returned") -> UsageError:
    """The error for NaN or infinity at a step and time of a path."""
    return UsageError(f"{what} NaN or infinity at step {step} (t = {t:.6g}) on {path}")


def time_dtype(x: Tensor) -> torch.dtype:
    """What times are told in: the state's real dtype, but at least float32."""
    return torch.float64 if x.dtype in (torch.float64, torch.complex128) else torch.float32


def sum_dtype(x: Tensor) -> torch.dtype:
    """What a state is added up in to see whether it is finite; no sum of finite float32 overflows float64."""
    return torch.float64 if x.device.type == "cuda" else time_dtype(x)


def on(numbers: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device, without waiting for it."""
    there = torch.tensor(numbers, dtype=dtype)
    return there.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else there.to(device)
