"""The one loop: run any tableau over a denoiser.

    u_{i+1} = state_i u_i + sum_j history_ij G_{i−j} + noise_i eps_i,     u = x − b y

Everything but the net is decided before the loop; inside it there is no allocation per coefficient and no transfer.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.core import nfe, rng
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.start import start
from fewstep.core.types import Callback, Denoise, SampleResult, Solver, StepInfo, StopSampling

__all__ = ["sample", "SampleResult", "StepInfo", "StopSampling"]


def sample(
    denoise: Denoise,
    path: AffinePath,
    *,
    times: Any = None,
    solver: Solver | Tableau,
    shape: Sequence[int] | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
    generator: rng.Seed = None,
    seeds: Sequence[int] | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    temperature: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    grad: bool = False,
) -> SampleResult:
    """Draw from the prior and follow the solver to the data.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``; `t` is one time on the state's device, in its real dtype but at least float32. The
        answer must be a new tensor: it is read in later steps.
    path
        The process.
    times
        Decreasing times in [0, path.t_max], [n + 1], see `fewstep.core.times`; None if `solver` is a `Tableau`.
    solver
        See `fewstep.core.solvers`; a `Tableau` serves as well.
    shape
        [batch, ...]; needed if neither `x` nor `y` is given.
    x
        State at ``times[0]`` to start from, instead of the prior; it is not changed.
    y
        Degraded end, shaped like the state.
    generator
        A seed, a generator or one generator per item; see `fewstep.core.rng.streams`. None: fresh entropy.
    seeds
        One seed per item, instead of `generator`.
    callback
        Called after each row with a `StepInfo`; may return a new state, or raise `StopSampling`.
    progress
        Show a bar on standard error.
    temperature
        Multiplies the standard deviation of the prior.
    dtype, device
        Of the state; default those of `x`, else of `y`, else float32 on the CPU.
    grad
        Keep the graph for gradients; otherwise everything runs in inference mode.

    Returns
    -------
    SampleResult

    Raises
    ------
    UsageError
        If an argument is not as described, or the denoiser's answer is not finite or of another shape.
    """
    table = solver.tableau(path, times)
    with nullcontext() if grad else torch.inference_mode(), nfe.count() as counter:
        first = start(
            path,
            float(table.times[0]),
            shape=shape,
            x=x,
            y=y,
            generator=generator,
            seeds=seeds,
            temperature=temperature,
            dtype=dtype,
            device=device,
        )
        last, steps = _Run(denoise, table, first.y, first.streams, callback, grad).loop(first.u, progress)
    visited = torch.from_numpy(table.grid[: steps + 1].copy())
    return SampleResult(last if grad else last.clone(), counter.calls, visited)


@dataclass(frozen=True)
class _Run:
    denoise: Denoise
    table: Tableau
    y: Tensor | None
    streams: list[torch.Generator]
    callback: Callback | None
    grad: bool

    def loop(self, u: Tensor, progress: bool) -> tuple[Tensor, int]:
        """The last state x, and how many steps of the grid led there."""
        table, sums = self.table, []
        past: deque[Tensor] = deque(maxlen=table.history.shape[1])
        times = torch.tensor(table.times, dtype=_time_dtype(u), device=u.device)
        for i in _shown(range(table.rows), progress):
            x = _shifted(u, self.y, table.b[i])
            denoised = nfe.call(self.denoise, x, times[i])
            _check_answer(denoised, x, "denoise")
            sums.append(denoised.detach().sum(dtype=_sum_dtype(denoised)))
            past.appendleft(_element(u, denoised, table.mix[i], past))
            u = self._move(u, i, past)
            if self.callback is not None:
                try:
                    u = self._report(u, i, denoised)
                except StopSampling as stop:
                    _check_finite(sums, table)
                    return _shifted(u, self.y, table.b[i + 1]) if stop.x is None else stop.x, int(table.step[i]) + 1
        _check_finite(sums, table)
        return _shifted(u, self.y, table.b[-1]), table.steps

    def _move(self, u: Tensor, i: int, past: Iterable[Tensor]) -> Tensor:
        state, noise = float(self.table.state[i]), float(self.table.noise[i])
        u = u * state if self.grad else u.mul_(state)
        for weight, element in zip(self.table.history[i].tolist(), past, strict=False):
            if weight:
                u.add_(element, alpha=weight)
        return u.add_(rng.normal(u.shape, self.streams, u.dtype, u.device), alpha=noise) if noise else u

    def _report(self, u: Tensor, i: int, denoised: Tensor) -> Tensor:
        table, x = self.table, _shifted(u, self.y, self.table.b[i + 1])
        info = StepInfo(i, int(table.step[i]), float(table.times[i]), float(table.times[i + 1]), x, denoised)
        replacement = self.callback(info) if self.callback else None
        if replacement is None:
            return u
        _check_answer(replacement, x, "the callback")
        return _shifted(replacement.to(u.dtype, copy=True), self.y, -table.b[i + 1])


def _shifted(u: Tensor, y: Tensor | None, b: float) -> Tensor:
    return u if y is None or b == 0 else torch.add(u, y, alpha=float(b))


def _element(u: Tensor, denoised: Tensor, mix: Sequence[float], past: Sequence[Tensor]) -> Tensor:
    of_u, of_denoised, of_last = mix
    if of_last and past:
        return torch.add(denoised * of_denoised + past[0] * of_last, u, alpha=of_u).to(u.dtype)
    if of_u == 0 and of_denoised == 1:
        shared = denoised.untyped_storage().data_ptr() == u.untyped_storage().data_ptr()
        return denoised.to(u.dtype, copy=shared)
    return torch.add(denoised * of_denoised, u, alpha=of_u).to(u.dtype)


def _check_answer(answer: Tensor, x: Tensor, who: str) -> None:
    if not isinstance(answer, Tensor) or answer.shape != x.shape:
        got = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UsageError(f"expected {who} to return a tensor shaped like the state {list(x.shape)}, got {got}")


def _check_finite(sums: list[Tensor], table: Tableau) -> None:
    bad = (~torch.isfinite(torch.stack(sums))).nonzero()
    if len(bad):
        i = int(bad[0])
        raise UsageError(
            f"denoise returned NaN or infinity at step {int(table.step[i])} (t = {table.times[i]:.6g}) on {table.path}"
        )


def _time_dtype(u: Tensor) -> torch.dtype:
    return torch.float64 if u.dtype in (torch.float64, torch.complex128) else torch.float32


def _sum_dtype(u: Tensor) -> torch.dtype:
    real = _time_dtype(u)
    return real.to_complex() if u.is_complex() else real


def _shown(rows: range, progress: bool) -> Iterable[int]:
    if not progress:
        return rows
    from rich.console import Console
    from rich.progress import track

    return track(rows, "sampling", console=Console(stderr=True))
