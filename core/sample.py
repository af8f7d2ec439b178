"""Draw from the prior and follow a solver to the data: a tableau through the loop, or a walk of its own.

The numbers of a tableau are all known before the first call of the net (`fewstep.core.loop`); a walk decides as it goes
(`fewstep.core.solvers.walk`).
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from fewstep.core import nfe, rng
from fewstep.core.answers import check_answer
from fewstep.core.brownian import noise_source
from fewstep.core.errors import UsageError
from fewstep.core.graph import Graph
from fewstep.core.loop import Loop
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.walk.ground import Ground, Walk
from fewstep.core.start import Start, start
from fewstep.core.types import Callback, Denoise, SampleResult, Solver, StepInfo, StopSampling

__all__ = ["sample", "SampleResult", "StepInfo", "StopSampling"]

_log = logging.getLogger(__name__)


def sample(
    denoise: Denoise,
    path: AffinePath,
    *,
    times: Any = None,
    solver: Solver | Tableau | Walk,
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
    noise: str | rng.Noise = "independent",
    grad: bool = False,
    compile: bool = False,
) -> SampleResult:
    """Draw from the prior and follow the solver to the data.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``; `t` is one time on the state's device, in its real dtype but at least float32. The
        answer is copied where it is needed later, so it may be the same tensor each time, or `x` itself; `x` must not
        be changed.
    path
        The process.
    times
        Decreasing times in [0, path.t_max], [n + 1], see `fewstep.core.times`; None if `solver` is a `Tableau`.
    solver
        See `fewstep.core.solvers`; a `Tableau` serves as well, and so does a walk.
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
    noise
        ``"independent"`` for each row, or ``"brownian"``: increments of one motion per item, the same for any number of
        steps; or what makes noise, see `fewstep.core.brownian`.
    grad
        Keep the graph for gradients; otherwise everything runs in inference mode.
    compile
        Compile the combination of each step with `torch.compile`; not with `grad`, nor for a walk.

    Returns
    -------
    SampleResult

    Raises
    ------
    UsageError
        If an argument is not as described, or the denoiser's answer is not finite or of another shape.
    """
    walker: Any = solver if hasattr(solver, "walk") else None
    _check_options(walker, noise=noise, grad=grad, compile=compile)
    table: Any = solver.tableau(path, times) if walker is None else None  # type: ignore[union-attr]
    grid = knots(path, times).times if table is None else table.grid
    _say_if_too_few(solver, len(grid) - 1)
    with nullcontext() if grad else torch.no_grad():
        begin = start(
            path,
            float(grid[0]),
            shape=shape,
            x=x,
            y=y,
            generator=generator,
            seeds=seeds,
            temperature=temperature,
            dtype=dtype,
            device=device,
        )
    with nullcontext() if grad else torch.inference_mode(), nfe.count() as counter:
        if table is None:
            last, visited = _walked(walker, denoise, path, grid, begin, callback, progress)
        else:
            fill = noise_source(noise, path, table.times, table.noise, begin.streams)
            run = Graph if grad else partial(Loop.of, compiled=compile)
            last, visited = _looped(run(denoise, table, begin.x, begin.y, fill), grid.tolist(), callback, progress)
    last = last.clone() if last.is_inference() else last
    return SampleResult(last, counter.calls, torch.tensor(visited, dtype=torch.float64))


def _looped(
    run: Loop | Graph, grid: list[float], callback: Callback | None, progress: bool
) -> tuple[Tensor, list[float]]:
    """The last state and the times visited."""
    table = run.table
    rows = run.rows(_shown(table.rows, progress))
    if callback is None:
        deque(rows, maxlen=0)
        run.verify(table.rows)
        return run.x, grid
    for i, denoised in rows:
        step, t_eval, t = int(table.step[i]), float(table.times[i]), float(table.times[i + 1])
        try:
            replacement = callback(StepInfo(i, step, t_eval, t, run.x, denoised))
        except StopSampling as stop:
            run.verify(i + 1)
            return run.x if stop.x is None else stop.x, grid[: step + 2]
        if replacement is not None:
            check_answer(replacement, run.x, "the callback")
            run.replace(replacement)
    run.verify(table.rows)
    return run.x, grid


def _walked(
    solver: Walk,
    denoise: Denoise,
    path: AffinePath,
    grid: Array,
    begin: Start,
    callback: Callback | None,
    progress: bool,
) -> tuple[Tensor, list[float]]:
    """The last state and the times visited."""
    ground = Ground(path, grid, begin.x, begin.y, denoise, rng.Independent().on(path, None, None, begin.streams))
    x, times, replacement = begin.x, {-1: float(grid[0])}, None
    infos = solver.walk(ground)
    for _ in _shown(None, progress):
        try:
            info = infos.send(replacement)
        except StopIteration:
            break
        x, times[info.step], replacement = info.x, info.t, None
        try:
            replacement = None if callback is None else callback(info)
        except StopSampling as stop:
            x = x if stop.x is None else stop.x
            break
        if replacement is not None:
            check_answer(replacement, x, "the callback")
            x = replacement
    ground.verify()
    return x, list(times.values())


def _check_options(walker: Walk | None, *, noise: Any, grad: bool, compile: bool) -> None:
    if compile and (grad or walker is not None):
        raise UsageError("compile=True needs a tableau and grad=False: nothing else is compiled")
    if walker is not None and noise != "independent":
        raise UsageError(f"a walk draws its own noise: expected noise='independent', got {noise!r}")


def _say_if_too_few(solver: Any, steps: int) -> None:
    order = getattr(solver, "order", 0)
    if isinstance(order, int) and order > steps:
        _log.warning(
            "%s: %d steps are too few for order %d; each step uses as many answers as there are",
            getattr(solver, "name", type(solver).__name__),
            steps,
            order,
        )


def _shown(rows: int | None, progress: bool) -> Iterable[int]:
    counted = count() if rows is None else range(rows)
    if not progress:
        return counted
    from rich.console import Console
    from rich.progress import track

    return track(counted, "sampling", total=rows, console=Console(stderr=True))
