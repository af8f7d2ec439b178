"""The one protocol: a start, methods that look for something better, and a report of what was found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.default import Default
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.tune.trial import OBJECTIVES, Objective, Spent, Trial
from fewstep.core.types import Denoise

Method = Callable[[Trial], None]
"""Asks ``trial.loss`` about tables until it is done or `Spent` is raised; ``trial.best`` is where it starts."""


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Parameters
    ----------
    table
        The best one; serves as ``solver=`` of `sample`.
    before, after
        The objective of the start and of the best.
    history
        The objective of each table that was run, in order.
    """

    table: Tableau
    before: float
    after: float
    history: tuple[float, ...]


def tune(
    denoise: Denoise,
    path: AffinePath,
    *,
    steps: int,
    x: Tensor,
    start: Default,
    method: Method | Sequence[Method],
    y: Tensor | None = None,
    first: Tableau | None = None,
    wanted: Tensor | None = None,
    objective: str | Objective = "median",
    budget: int = 400,
) -> Tuned:
    """Fit a table to a fine solver on a handful of samples; never worse on them than the start.

    Parameters
    ----------
    denoise
        ``denoise(x, t) -> x0_hat``.
    path
        The process.
    steps
        Number of steps of the table.
    x
        Starts at `path.t_max`, [batch, ...], e.g. ``path.prior(z)``; 32 to 128 of them.
    start
        Where the search begins, and the fine solver at many more steps.
    method
        One of `grid`, `weights`, `gradient`, `evolution`, `schedule`, `compensation`, or several to be run in turn.
    y
        Degraded ends, shaped like `x`; None is 0.
    first
        A table to begin with instead of that of `start`.
    wanted
        Ends to fit to, shaped like `x`; None: where `start` leads in 200 steps or more.
    objective
        ``"median"`` or ``"mean"`` of the error at the end, or (got, wanted) -> number.
    budget
        How many tables may be run on all samples.

    Returns
    -------
    Tuned

    Raises
    ------
    UsageError
        If the objective is unknown, there is no step or no budget, or `first` or `wanted` does not fit.

    References
    ----------
    Watson et al. 2022, arXiv:2202.05830; Frankel et al. 2025, arXiv:2502.17423.
    """
    if isinstance(objective, str):
        if objective not in OBJECTIVES:
            raise UsageError(f"expected an objective out of {', '.join(OBJECTIVES)}, got {objective!r}")
        objective = OBJECTIVES[objective]
    if steps < 1 or budget < 1:
        raise UsageError(f"expected at least one step and one run, got {steps=}, {budget=}")
    if wanted is not None and wanted.shape != x.shape:
        raise UsageError(f"wanted: expected shape {list(x.shape)} like x, got {list(wanted.shape)}")
    table = start.tableau(path, steps) if first is None else first.tableau(path)
    if table.steps != steps:
        raise UsageError(f"first: expected a table of {steps} steps, got {table}")
    trial = Trial(denoise, path, x, y, steps, start, objective, budget, wanted)
    before = trial.loss(table)
    try:
        for each in [method] if callable(method) else method:
            each(trial)
    except Spent:
        pass
    return Tuned(trial.best, before, min(trial.history), tuple(trial.history))
