"""Draw from the prior and follow a solver to the data: a tableau through the loop, or a walk of its own.

The numbers of a tableau are all known before the first call of the net (`fewstep.core.loop`); a walk decides as it goes
(`fewstep.core.solvers.walk`).
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fewstep.core import nfe, rng
from fewstep.core.brownian import noise_source
from fewstep.core.errors import UsageError
from fewstep.core.follow import looped, walked
from fewstep.core.graph import Graph
from fewstep.core.loop import Loop
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import knots
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.walk.ground import Ground, Walk
from fewstep.core.start import start
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
    _say_if_too_few(solver, table)
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
            kind = rng.Independent() if isinstance(noise, str) else noise
            fresh = kind.on(path, grid, None, begin.streams)
            last, visited = walked(walker, Ground(path, grid, begin.x, begin.y, denoise, fresh), callback, progress)
        else:
            fill = noise_source(noise, path, table.times, table.noise, begin.streams)
            run = Graph if grad else partial(Loop.of, compiled=compile)
            last, visited = looped(run(denoise, table, begin.x, begin.y, fill), grid.tolist(), callback, progress)
    last = last.clone() if last.is_inference() else last
    return SampleResult(last, counter.calls, torch.tensor(visited, dtype=torch.float64))


def _check_options(walker: Walk | None, *, noise: Any, grad: bool, compile: bool) -> None:
    if compile and (grad or walker is not None):
        raise UsageError("compile=True needs a tableau and grad=False: nothing else is compiled")
    if walker is not None and isinstance(noise, str) and noise != "independent":
        raise UsageError(f"a walk draws its own noise: expected noise='independent', got {noise!r}")


def _say_if_too_few(solver: Any, table: Tableau | None) -> None:
    order = getattr(solver, "order", 0)
    if table is not None and isinstance(order, int) and order > table.rows:
        _log.warning(
            "%s: %d evaluations are too few for order %d; each step uses as many answers as there are",
            table.solver,
            table.rows,
            order,
        )
