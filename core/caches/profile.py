"""Measure on a few trajectories what reuse would cost, row by row.

E[a, t] is the relative l1 error of the feature at row t if row a's stood in for it; lambda_t the error at the end of a
run in which row t alone used its predecessor's (HarmoniCa's image-error proxy, Huang et al. 2024, arXiv:2410.01723).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewstep.core.caches.attach import attach
from fewstep.core.caches.cache import Cache
from fewstep.core.caches.policy import Every, Schedule
from fewstep.core.caches.record import record
from fewstep.core.caches.search import weighted
from fewstep.core.errors import UsageError


@dataclass(frozen=True, eq=False)
class Profile:
    """What was measured.

    Parameters
    ----------
    errors
        E[a, t], [rows, rows], mean over sites and branches.
    sensitivity
        lambda_t, [rows], 0 at the first.
    lines
        E[a, b, t] of the line through rows a and b, [rows, rows, rows]; None: not measured.
    """

    errors: np.ndarray
    sensitivity: np.ndarray
    lines: np.ndarray | None = None

    @property
    def cost(self) -> np.ndarray:
        """W[a, t], see `fewstep.core.caches.search.weighted`."""
        return weighted(self.errors, self.sensitivity)

    @property
    def line_cost(self) -> np.ndarray | None:
        """W[a, b, t], weighted likewise."""
        if self.lines is None:
            return None
        near = np.array([0.0, *np.diagonal(self.errors, 1)])
        return self.lines * np.divide(self.sensitivity, near, out=np.zeros(len(near)), where=near > 0)


def profile(net: nn.Module, run: Callable[[], Tensor], *, scope: Any, times: Any = None) -> Profile:
    """Measure error matrices and end-point sensitivity.

    Parameters
    ----------
    net
        What `run` calls.
    run
        Draws the same few samples each time (2 to 8, fixed seeds) through `sample`, and returns them, [batch, ...].
    scope
        As for `Cache`.
    times
        As for `attach`.

    Returns
    -------
    Profile
        After one run that records and one per row.

    Raises
    ------
    UsageError
        If a run has fewer than two rows, or says something else the second time.
    """
    recorded = record(net, run, scope=scope, times=times)
    rows, reference = recorded.rows, recorded.end
    always = end(net, run, Cache(scope, Every(1)), times)
    if not torch.equal(always, reference):
        raise UsageError("two runs differ: `run` must draw with fixed seeds")
    sensitivity = np.zeros(rows)
    for t in range(1, rows):
        all_but = Schedule(rows, tuple(row for row in range(rows) if row != t))
        sensitivity[t] = relative(end(net, run, Cache(scope, all_but), times), reference)
    return Profile(recorded.matrix(), sensitivity, recorded.lines())


def relative(x: Tensor, reference: Tensor) -> float:
    """Relative l2 error of a sample.

    Parameters
    ----------
    x, reference
        The same shape.

    Returns
    -------
    float
    """
    return float(torch.linalg.vector_norm(x - reference) / torch.linalg.vector_norm(reference))


def end(net: nn.Module, run: Callable[[], Tensor], cache: Cache, times: Any) -> Tensor:
    """What `run` draws with a cache attached."""
    with attach(net, cache, times=times):
        return run()
