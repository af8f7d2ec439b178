"""Dynamic compensation: the newest answer is read at another time t', through the polynomial in t of the last three.

    G_i -> sum_k l_k(t') G_{i−k},     t' = t_{i−1} + rho_i (t_i − t_{i−1})

(DC-Solver, Zhao et al. 2024, arXiv:2409.03755, section 3.2.) rho_i = 1 changes nothing. The new state is affine in l_k,
hence a polynomial in rho_i whose best point against the fine solver is found without a call of the net.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.solvers.knots import Array
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.tune.follow import Follower
from fewstep.core.solvers.tune.trial import Trial

_POINTS = 3


@dataclass(frozen=True)
class Compensation:
    """See `compensation`."""

    reach: float

    def __call__(self, trial: Trial) -> None:
        """One rho after the other, each on the trajectory that those before it lead along."""
        table = trial.best
        wanted, ratios = trial.reference(table.times), np.ones(table.rows)
        candidates = np.append(np.linspace(1 - self.reach, 1 + self.reach, 401), 1.0)
        run = Follower(trial.denoise, trial.x, trial.y, float(table.b[0]))
        with torch.no_grad():
            for i in range(table.rows):
                run.ask(float(table.times[i]), float(table.b[i]), table.mix[i].tolist())
                if i >= _POINTS - 1:
                    ratios[i] = _best(run, table, i, wanted[i + 1], candidates)
                run.move(float(table.state[i]), _row(table, i, ratios[i]).tolist())
        trial.loss(compensated(table, ratios))


def compensation(*, reach: float = 1.0) -> Compensation:
    """Compensate the best table so far.

    Parameters
    ----------
    reach
        How far from 1 each rho may go.

    Raises
    ------
    UsageError
        If `reach` is not positive.
    """
    if not reach > 0:
        raise UsageError(f"expected reach > 0, got {reach}")
    return Compensation(reach)


def compensated(table: Tableau, ratios: Sequence[float] | Array) -> Tableau:
    """The table with compensated weights.

    Parameters
    ----------
    table
        Any without stages.
    ratios
        rho of each row, [rows]; 1 leaves a row as it is, and so do the first two rows.

    Raises
    ------
    UsageError
        If there is not one number per row.
    """
    if len(ratios) != table.rows:
        raise UsageError(f"expected {table.rows} ratios, one per row, got {len(ratios)}")
    width = max(table.history.shape[1], _POINTS)
    history = np.array([_row(table, i, rho, width) for i, rho in enumerate(ratios)])
    return replace(table, solver=f"{table.solver}, compensated", history=history)


def _row(table: Tableau, i: int, rho: float, width: int = _POINTS) -> Array:
    row = np.pad(table.history[i], (0, max(0, width - table.history.shape[1])))
    if rho != 1 and i >= _POINTS - 1:
        newest = row[0]
        row[0] = 0
        row[:_POINTS] += newest * _lagrange(table.times[i - _POINTS + 1 : i + 1][::-1], rho)
    return row


def _lagrange(nodes: Array, rho: float) -> Array:
    """Weights of the values at `nodes`, newest first, at nodes[1] + rho (nodes[0] − nodes[1])."""
    at = nodes[1] + rho * (nodes[0] - nodes[1])
    others = [np.delete(nodes, k) for k in range(len(nodes))]
    return np.array([np.prod((at - rest) / (node - rest)) for node, rest in zip(nodes, others, strict=True)])


def _best(run: Follower, table: Tableau, i: int, wanted: Tensor, candidates: Array) -> float:
    """The candidate whose next state is nearest to `wanted`."""
    base = float(table.state[i]) * run.u
    for weight, element in zip(table.history[i, 1:].tolist(), run.past[1:], strict=False):
        base = base + weight * element
    parts = [wanted - base, *(float(table.history[i, 0]) * element for element in run.past[:_POINTS])]
    flat = torch.stack([part.reshape(-1) for part in parts])
    gram = (flat @ flat.mH).real.double().cpu().numpy()
    newest = table.times[i - _POINTS + 1 : i + 1][::-1]
    change = np.array([[1.0, *-_lagrange(newest, rho)] for rho in candidates])
    return float(candidates[np.einsum("nk,kl,nl->n", change, gram, change).argmin()])
