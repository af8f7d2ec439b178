"""Solvers that learn: a tableau's numbers are parameters, fitted to a fine solver on a handful of samples.

One protocol for all: `tune` runs methods one after the other, counts what they spend, and keeps the best table.
"""

from fewstep.core.solvers.tune.compensation import compensation
from fewstep.core.solvers.tune.evolution import evolution
from fewstep.core.solvers.tune.gradient import gradient
from fewstep.core.solvers.tune.grid import grid
from fewstep.core.solvers.tune.schedule import schedule
from fewstep.core.solvers.tune.statistics import statistics
from fewstep.core.solvers.tune.store import fingerprint, load, save
from fewstep.core.solvers.tune.trial import Spent, Trial
from fewstep.core.solvers.tune.tuning import Tuned, tune
from fewstep.core.solvers.tune.weights import weights

__all__ = [
    "tune",
    "Tuned",
    "Trial",
    "Spent",
    "grid",
    "weights",
    "gradient",
    "evolution",
    "schedule",
    "compensation",
    "statistics",
    "save",
    "load",
    "fingerprint",
]
