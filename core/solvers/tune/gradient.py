"""Times, or all numbers of a table, by gradient: through the net by backpropagation, through the solver by differences.

    d loss/d p = sum_c d loss/d c  ·  d c/d p

c are the numbers of the table, whose gradient PyTorch gives; for the times of the grid, d c/d p is a difference
quotient in float64 that calls no net. (Watson et al. 2022, arXiv:2202.05830; Xue et al. 2024, arXiv:2402.17376.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.tune.evolution import Angles
from fewstep.core.solvers.tune.follow import Follower
from fewstep.core.solvers.tune.trial import Trial
from fewstep.core.types import Solver

_OF_TIMES = ("times", "b", "mix", "state", "history")
_OF_WEIGHTS = ("state", "history")
KINDS = ("times", "weights")


@dataclass(frozen=True)
class Gradient:
    """See `gradient`."""

    of: str
    solver: Solver | None
    iterations: int
    rate: float

    def __call__(self, trial: Trial) -> None:
        """Adam from the best table so far; every iterate is a table that is tried."""
        table = trial.best
        p, make = self._weights(table) if self.of == "weights" else self._times(trial, table)
        value = torch.from_numpy(p.copy()).requires_grad_()
        optimizer = torch.optim.Adam([value], self.rate)
        for k in range(self.iterations):
            at = value.detach().numpy()
            trial.loss(make(at))
            value.grad = torch.from_numpy(_slope(trial, make, at, self.of))
            optimizer.param_groups[0]["lr"] = self.rate * (1 - k / self.iterations)
            optimizer.step()
        trial.loss(make(value.detach().numpy()))

    def _times(self, trial: Trial, table: Tableau) -> tuple[Array, Callable[[Array], Tableau]]:
        solver = self.solver or trial.family
        angles = Angles(trial.path, trial.family.scale)

        def make(p: Array) -> Tableau:
            gaps = np.exp(p - p.max())
            return solver.tableau(trial.path, angles.times(np.cumsum(gaps / gaps.sum())[:-1]))

        return np.log(np.diff(angles.parts(table.grid), prepend=0.0, append=1.0)), make

    def _weights(self, table: Tableau) -> tuple[Array, Callable[[Array], Tableau]]:
        free = np.concatenate([np.ones((table.rows, 1), dtype=bool), table.history != 0], axis=1)
        start = np.concatenate([table.state[:, None], table.history], axis=1)

        def make(p: Array) -> Tableau:
            numbers = np.zeros_like(start)
            numbers[free] = start[free] * (1 + p)
            name = f"{table.solver}, learnt weights"
            return replace(table, solver=name, state=numbers[:, 0], history=numbers[:, 1:])

        return np.zeros(int(free.sum())), make


def gradient(of: str = "times", *, solver: Solver | None = None, iterations: int = 60, rate: float = 0.03) -> Gradient:
    """Descend from the best table so far.

    Parameters
    ----------
    of
        ``"times"`` of the grid, or all ``"weights"`` of the table.
    solver
        What makes tables of grids, for ``"times"``; default the default solver with the best parameters so far.
    iterations
        Of Adam, each a forward and a backward pass through all steps.
    rate
        Of learning, for the logarithms of the steps or the relative change of the weights; falls to 0.

    Raises
    ------
    UsageError
        If an option is not as described.
    """
    if of not in KINDS:
        raise UsageError(f"expected the gradient of 'times' or 'weights', got {of!r}")
    if iterations < 1 or not rate > 0:
        raise UsageError(f"expected iterations >= 1 and rate > 0, got {iterations}, {rate}")
    return Gradient(of, solver, iterations, rate)


def _slope(trial: Trial, make: Callable[[Array], Tableau], p: Array, of: str, step: float = 1e-6) -> Array:
    names = _OF_TIMES if of == "times" else _OF_WEIGHTS
    slopes = _of_numbers(trial, make(p), names)
    out = np.zeros_like(p)
    for k in range(len(p)):
        shift = np.zeros_like(p)
        shift[k] = step
        up, down = make(p + shift), make(p - shift)
        pairs = [((getattr(up, name) - getattr(down, name)) / (2 * step), slopes[name]) for name in names]
        out[k] = sum(float((change * slope).sum()) for change, slope in pairs)
    return out


def _of_numbers(trial: Trial, table: Tableau, names: Sequence[str]) -> dict[str, Array]:
    """d loss / d number, for a smooth stand-in of the objective: the mean over samples of the error's norm."""
    c = {name: torch.tensor(getattr(table, name), requires_grad=name in names) for name in _OF_TIMES}
    with torch.enable_grad():
        last = _end(trial, table, c)
        error = (last - trial.wanted).abs().square().flatten(1).mean(1)
        loss = (error + 1e-12 * error.detach().max()).sqrt().mean()
        found = torch.autograd.grad(loss, [c[name] for name in names], allow_unused=True)
    return {
        name: np.zeros_like(getattr(table, name)) if slope is None else slope.numpy()
        for name, slope in zip(names, found, strict=True)
    }


def _end(trial: Trial, table: Tableau, c: dict[str, Tensor]) -> Tensor:
    run = Follower(trial.denoise, trial.x, trial.y, c["b"][0])
    for i in range(table.rows):
        run.ask(c["times"][i], c["b"][i], c["mix"][i].unbind())
        run.move(c["state"][i], c["history"][i].unbind())
    return run.u
