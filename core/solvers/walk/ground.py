"""What a sampler that is no table stands on: the path, the net, the noise, and a protocol of one method.

A walk decides as it goes: its step may depend on norms or variances of what it sees. It is a plain generator that
yields a `StepInfo` for each new state and is sent the callback's replacement for it, or None.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.answers import check_answer, check_finite, not_finite, on, picked, sum_dtype, time_dtype
from fewstep.core.paths import AffinePath
from fewstep.core.rng import Fill
from fewstep.core.solvers.knots import Array
from fewstep.core.types import Denoise, StepInfo

Steps: TypeAlias = Generator[StepInfo, Tensor | None, None]


@dataclass(frozen=True)
class Ground:
    """One run's surroundings.

    Parameters
    ----------
    path, times
        The process, and the grid [n + 1], decreasing.
    x, y
        The first state, which may be written over, and the degraded end or None.
    denoise, fill
        The net and the noise; use `ask` and `normal`.
    """

    path: AffinePath
    times: Array
    x: Tensor
    y: Tensor | None
    denoise: Denoise
    fill: Fill
    _seen: list[tuple[Tensor, int, float]] = field(default_factory=list)

    def ask(self, x: Tensor, t: float, step: int, *, told: Tensor | None = None) -> Tensor:
        """``denoise(x, t)``, counted and checked.

        Parameters
        ----------
        x
            State, [batch, ...].
        t, step
            Named if the answer is bad.
        told
            Times that the net is told instead of `t`, [batch].

        Returns
        -------
        Tensor
            The denoiser's answer.

        Raises
        ------
        UsageError
            If the answer is not shaped like the state or, on the CPU, not finite.
        """
        time = on(t, time_dtype(x), x.device) if told is None else told.to(time_dtype(x))
        denoised = nfe.call(picked(self.denoise, [t])[0], x, time)
        check_answer(denoised, x, "denoise")
        if x.device.type == "cpu":
            check_finite(denoised, step, t, self.path.key)
        else:
            self._seen.append((denoised.detach().abs().sum(dtype=sum_dtype(x)), step, t))
        return denoised

    def normal(self) -> Tensor:
        """Standard normal noise shaped like the state, each item from its own stream."""
        return self.fill(torch.empty_like(self.x, requires_grad=False), 0)

    def verify(self) -> None:
        """Wait for the device and see whether all answers were finite.

        Raises
        ------
        UsageError
            If one was not.
        """
        for total, step, t in self._seen:
            if not bool(torch.isfinite(total)):
                raise not_finite(step, t, self.path.key)


@runtime_checkable
class Walk(Protocol):
    """A sampler that is no table; `sample` takes it as its solver."""

    def walk(self, ground: Ground) -> Steps:
        """Yield each new state as a `StepInfo`; what is sent back, if not None, takes its place."""
