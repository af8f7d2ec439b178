"""The one loop: run any tableau over a denoiser.

    u_{i+1} = state_i u_i + sum_j history_ij G_{i−j} + noise_i eps_i,     u = x − b y

Everything but the net is decided before the loop; inside it there is no allocation per coefficient and no transfer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.core import nfe, rng
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Denoise, Solver


@dataclass(frozen=True)
class StepInfo:
    """What a callback sees after row `i` of the table, by reference: read it, or copy what you keep.

    Parameters
    ----------
    i, step
        Row of the table and step of the grid, counted from 0; they differ for solvers with stages.
    t_eval, t
        Time at which the denoiser was asked, and time of `x`.
    x
        The new state, [batch, ...].
    denoised
        The denoiser's answer, [batch, ...].
    """

    i: int
    step: int
    t_eval: float
    t: float
    x: Tensor
    denoised: Tensor


class StopSampling(Exception):
    """Raised by a callback to end sampling; the result is `x`, or the current state."""

    def __init__(self, x: Tensor | None = None):
        super().__init__("sampling was stopped by a callback")
        self.x = x


Callback = Callable[[StepInfo], Tensor | None]


@dataclass(frozen=True)
class SampleResult:
    """What came out.

    Parameters
    ----------
    x
        The last state, [batch, ...].
    nfe
        Network calls per item, as counted.
    times
        The times that were visited, decreasing, float64.
    """

    x: Tensor
    nfe: int
    times: Tensor


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
    if not temperature >= 0:
        raise UsageError(f"expected temperature >= 0, got {temperature}")
    table = solver.tableau(path, times)
    with nullcontext() if grad else torch.inference_mode(), nfe.count() as counter:
        start = _State.start(path, table, shape, x, y, generator, seeds, temperature, dtype, device)
        last, reached = _run(denoise, table, start, callback, progress, grad)
    return SampleResult(
        last if grad else last.clone(), counter.calls, torch.from_numpy(table.grid[: reached + 1].copy())
    )


@dataclass
class _State:
    """The state in u = x − b y, what moves it to x, and the streams of its noise."""

    u: Tensor
    y: Tensor | None
    streams: list[torch.Generator]

    @classmethod
    def start(cls, path, table, shape, x, y, generator, seeds, temperature, dtype, device) -> "_State":
        like = x if x is not None else y
        shape = tuple(shape if shape is not None else () if like is None else like.shape)
        if not shape or min(shape) < 1:
            raise UsageError(f"expected shape=[batch, ...], x or y to say what to draw, got shape {list(shape)}")
        for name, value in (("x", x), ("y", y)):
            if value is not None and tuple(value.shape) != shape:
                raise UsageError(f"{name}: expected shape {list(shape)} like the state, got {list(value.shape)}")
        if seeds is not None and generator is not None:
            raise UsageError("expected generator or seeds, got both")
        dtype = dtype or (torch.float32 if like is None else like.dtype)
        if not (dtype.is_floating_point or dtype.is_complex):
            raise UsageError(f"expected a real or complex floating-point state, got {dtype}: pass dtype=")
        device = torch.device(device or ("cpu" if like is None else like.device))
        y = None if y is None else y.to(device, dtype)
        streams = rng.streams(generator, shape[0]) if seeds is None else rng.seeded(seeds)
        if len(streams) != shape[0]:
            raise UsageError(f"expected one seed per item, {shape[0]}, got {len(streams)}")
        if x is None:
            z = rng.normal(shape, streams, dtype, device)
            x = path.prior(z, y, t=float(table.times[0]), temperature=temperature)
        u = x.to(device, dtype, copy=True)
        return cls(u if y is None else u - float(table.b[0]) * y, y, streams)


def _run(denoise, table: Tableau, start: _State, callback, progress: bool, grad: bool) -> tuple[Tensor, int]:
    u, y = start.u, start.y
    times = torch.tensor(table.times, dtype=_time_dtype(u), device=u.device)
    totals: list[Tensor] = []
    past: deque[Tensor] = deque(maxlen=table.history.shape[1])
    rows = zip(table.state.tolist(), table.history.tolist(), table.mix.tolist(), table.noise.tolist(), strict=True)
    for i, (state, history, mix, noise) in enumerate(_shown(list(rows), progress)):
        x = _shifted(u, y, table.b[i])
        denoised = nfe.call(denoise, x, times[i])
        _check_answer(denoised, x)
        totals.append(denoised.detach().sum(dtype=_sum_dtype(u)))
        past.appendleft(_element(u, denoised, mix))
        u = _combine(u, state, history, past, in_place=not grad)
        if noise:
            u = u + noise * rng.normal(u.shape, start.streams, u.dtype, u.device)
        if callback is not None:
            x = _shifted(u, y, table.b[i + 1])
            info = StepInfo(i, int(table.step[i]), float(table.times[i]), float(table.times[i + 1]), x, denoised)
            try:
                replacement = callback(info)
            except StopSampling as stop:
                _check_finite(totals, table)
                return (x if stop.x is None else stop.x), info.step + 1
            if replacement is not None:
                _check_answer(replacement, x)
                u = _shifted(replacement, y, -table.b[i + 1]).clone()
    _check_finite(totals, table)
    return _shifted(u, y, table.b[-1]), table.steps


def _shifted(u: Tensor, y: Tensor | None, b: float) -> Tensor:
    return u if y is None or b == 0 else torch.add(u, y, alpha=float(b))


def _element(u: Tensor, denoised: Tensor, mix: Sequence[float]) -> Tensor:
    of_u, of_denoised = mix
    if of_u == 0 and of_denoised == 1:
        shared = denoised.untyped_storage().data_ptr() == u.untyped_storage().data_ptr()
        return denoised.to(u.dtype, copy=shared)
    return torch.add(denoised * of_denoised, u, alpha=of_u).to(u.dtype)


def _combine(u: Tensor, state: float, history: Sequence[float], past: Iterable[Tensor], *, in_place: bool) -> Tensor:
    u = u.mul_(state) if in_place else u * state
    for weight, element in zip(history, past, strict=False):
        if weight:
            u = u.add_(element, alpha=weight)
    return u


def _check_answer(answer: Tensor, x: Tensor) -> None:
    if not isinstance(answer, Tensor) or answer.shape != x.shape:
        got = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UsageError(
            f"expected denoise (or the callback) to return shape {list(x.shape)} like the state, got {got}"
        )


def _check_finite(totals: list[Tensor], table: Tableau) -> None:
    bad = (~torch.isfinite(torch.stack(totals))).nonzero()
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


def _shown(rows: list, progress: bool) -> Iterable:
    if not progress:
        return rows
    from rich.console import Console
    from rich.progress import track

    return track(rows, "sampling", console=Console(stderr=True))
