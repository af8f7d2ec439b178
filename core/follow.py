"""Follow a run from state to state, tell the callback of each, and put what it returns in its place."""

from collections import deque
from collections.abc import Iterable
from itertools import count

from torch import Tensor

from fewstep.core.answers import check_answer
from fewstep.core.graph import Graph
from fewstep.core.loop import Loop
from fewstep.core.solvers.walk.ground import Ground, Walk
from fewstep.core.types import Callback, StepInfo, StopSampling


def looped(
    run: Loop | Graph, grid: list[float], callback: Callback | None, progress: bool
) -> tuple[Tensor, list[float]]:
    """The last state of a tableau's run and the times visited, out of `grid`.

    Raises
    ------
    UsageError
        If an answer is not as described for `sample`.
    """
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


def walked(solver: Walk, ground: Ground, callback: Callback | None, progress: bool) -> tuple[Tensor, list[float]]:
    """The last state of a walk and the times visited.

    Raises
    ------
    UsageError
        If an answer is not as described for `sample`.
    """
    x, times, replacement = ground.x, {-1: float(ground.times[0])}, None
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


def _shown(rows: int | None, progress: bool) -> Iterable[int]:
    counted = count() if rows is None else range(rows)
    if not progress:
        return counted
    from rich.console import Console
    from rich.progress import track

    return track(counted, "sampling", total=rows, console=Console(stderr=True))
