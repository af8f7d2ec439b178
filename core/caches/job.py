"""A model to be cached, as `fewstep cache tune` sees it: how to draw from it, and the scopes that suit it.

A room offers its kinds of models through the entry-point group ``fewstep.cache_jobs``: kind -> ``module:function``,
where the function takes the model's folder and a number of samples and returns a `Job`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

from torch import Tensor, nn

from fewstep.core.caches.attach import attach
from fewstep.core.caches.cache import Cache
from fewstep.core.caches.default import Unit, tune
from fewstep.core.caches.policy import Schedule
from fewstep.core.caches.profile import relative
from fewstep.core.caches.store import SUFFIX, load, save

_HELD_OUT = 1


@dataclass(frozen=True)
class Job:
    """See above.

    Parameters
    ----------
    net
        The module that is attached to.
    draw
        ``draw(steps, seed) -> x``: the same few samples for the same seed, [batch, ...].
    times
        ``times(steps)``: the grid of those runs, [steps + 1].
    scopes
        What may be left out.
    """

    net: nn.Module
    draw: Callable[[int, int], Tensor]
    times: Callable[[int], Tensor]
    scopes: Sequence[Any]


@dataclass(frozen=True)
class Outcome:
    """A tuned cache on noise that it was not tuned on.

    Parameters
    ----------
    cache
        What was found.
    error, cost
        Relative error to the uncached run of as many steps, and share of its CPU time.
    fewer, fewer_error
        As many plain steps as take the same time, and their error to the same run.
    """

    cache: Cache
    error: float
    cost: float
    fewer: int
    fewer_error: float

    @property
    def computed(self) -> tuple[int, ...]:
        """Rows that are computed."""
        policy = self.cache.policy
        return policy.refresh if isinstance(policy, Schedule) else ()

    @property
    def pays(self) -> bool:
        """Whether it ends nearer than fewer steps do."""
        return self.error < self.fewer_error


def tuned_file(folder: str | Path, steps: int) -> Path:
    """Where the tuned cache of a model lies: beside its weights, one file per number of steps."""
    return Path(folder) / f"tuned-{steps}{SUFFIX}"


def tuned(folder: str | Path, job_net: nn.Module, times: Tensor) -> tuple[Cache, ...]:
    """The tuned cache of a model for a grid.

    Parameters
    ----------
    folder
        Of the model.
    job_net
        The net that is sampled.
    times
        Grid of the run, [steps + 1].

    Returns
    -------
    tuple of Cache

    Raises
    ------
    UsageError
        If it was tuned for another net or grid.
    FileNotFoundError
        If there is none for so many steps.
    """
    file = tuned_file(folder, len(times) - 1)
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: make it with fewstep cache tune --steps {len(times) - 1}")
    return load(file, net=job_net, times=times)


def tune_job(
    job: Job, *, steps: int, budget: float, unit: Unit, file: Path, tell: Callable[[str], None] = lambda message: None
) -> Outcome:
    """Tune, write the file, and try it on other noise.

    Parameters
    ----------
    job, steps, budget, unit
        What to tune and how far, see `fewstep.core.caches.tune`.
    file
        Where the cache goes.
    tell
        Told what is being done.

    Returns
    -------
    Outcome

    Raises
    ------
    UsageError
        If the budget cannot be kept by any scope.
    """
    grid = job.times(steps)
    tell(f"tuning: about {len(job.scopes) * (steps + 12)} runs of {steps} steps")
    cache = tune(job.net, lambda: job.draw(steps, 0), scope=list(job.scopes), budget=budget, unit=unit, times=grid)
    save(cache, file, net=job.net, times=grid)
    tell("trying it on other noise")
    reference, full = _timed(lambda: job.draw(steps, _HELD_OUT))
    with attach(job.net, cache, times=grid):
        x, seconds = _timed(lambda: job.draw(steps, _HELD_OUT))
    cost = seconds / full
    fewer = min(max(round(steps * cost), 1), steps)
    return Outcome(cache, relative(x, reference), cost, fewer, relative(job.draw(fewer, _HELD_OUT), reference))


def _timed(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    x, spent = run(), []
    for _ in range(3):
        began = process_time()
        x = run()
        spent.append(process_time() - began)
    return x, min(spent)
