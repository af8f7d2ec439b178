"""Free weights: each row of the table by least squares against the fine solver's states, on its own trajectory.

    minimise over (state_i, history_i)   sum_n w_n |u*_{i+1} − state_i u_i − sum_j history_ij G_{i−j}|²  +  ridge

w_n = 1/|residual_n| makes the fit robust against the few samples that end in another mode. It asks for no gradient of
the net, and goes the way of learnable solvers (Frankel et al. 2025, arXiv:2502.17423; Watson et al. 2022,
arXiv:2202.05830) in one pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.tune.follow import Follower
from fewstep.core.solvers.tune.trial import Trial


@dataclass(frozen=True)
class Weights:
    """See `weights`."""

    ridges: tuple[float, ...]
    depth: int

    def __call__(self, trial: Trial) -> None:
        """One fit per ridge."""
        table = trial.best
        if (table.step != torch.arange(table.rows).numpy()).any():
            raise UsageError(f"expected a table without stages, got {table}")
        wanted = trial.reference(table.times)
        for ridge in self.ridges:
            trial.loss(self._fitted(trial, table, wanted, ridge))

    def _fitted(self, trial: Trial, table: Tableau, wanted: Sequence[Tensor], ridge: float) -> Tableau:
        run = Follower(trial.denoise, trial.x, trial.y, float(table.b[0]))
        depth = max(self.depth, table.history.shape[1])
        state, history = table.state.copy(), torch.zeros(table.rows, depth, dtype=torch.float64).numpy()
        history[:, : table.history.shape[1]] = table.history
        with torch.no_grad():
            for i in range(table.rows):
                run.ask(float(table.times[i]), float(table.b[i]), table.mix[i].tolist())
                k = min(depth, len(run.past))
                start = torch.tensor([state[i], *history[i, :k]], dtype=torch.float64)
                found = _robust([run.u, *run.past[:k]], wanted[i + 1], start, ridge).tolist()
                state[i], history[i, :k] = found[0], found[1:]
                run.move(state[i], history[i].tolist())
        return replace(table, solver=f"{table.solver}, fitted weights", state=state, history=history)


def weights(*, ridges: Sequence[float] = (0.0, 1e-8, 1e-6, 1e-4, 1e-2), depth: int = 4) -> Weights:
    """Fit every weight of the best table so far; its times and its basis stay.

    Parameters
    ----------
    ridges
        Pulls towards the table's own weights, relative to the size of the states; one table each.
    depth
        Values of the history that may be used.

    Raises
    ------
    UsageError
        If a ridge is negative, or `depth` below 1.
    """
    if depth < 1 or not ridges or min(ridges) < 0:
        raise UsageError(f"expected ridges >= 0 and depth >= 1, got {list(ridges)}, {depth}")
    return Weights(tuple(ridges), depth)


def _robust(columns: Sequence[Tensor], wanted: Tensor, start: Tensor, ridge: float, rounds: int = 8) -> Tensor:
    """Least squares in the weights' change from `start`, reweighted by 1/|residual| per sample."""
    design = torch.stack([_real(column) for column in columns], -1)
    residual = _real(wanted) - design @ start
    scale = design.square().mean((0, 1)).sqrt().clamp(min=1e-300)
    design = design / scale
    weight, change = torch.ones(len(design), 1, 1, dtype=torch.float64), torch.zeros_like(start)
    penalty = math.sqrt(ridge) * torch.eye(len(start), dtype=torch.float64)
    for _ in range(rounds):
        root = (weight / weight.sum() / design.shape[1]).sqrt()
        rows = torch.cat([(design * root).flatten(0, 1), penalty])
        side = torch.cat([(residual * root[..., 0]).flatten(), torch.zeros_like(start)])
        change = torch.linalg.lstsq(rows, side[:, None], driver="gelsd").solution[:, 0]
        left = (residual - design @ change).square().mean(1).sqrt()
        weight = 1 / left.clamp(min=1e-3 * float(left.median()) + 1e-300)[:, None, None]
    return start + change / scale


def _real(x: Tensor) -> Tensor:
    """[batch, components], float64 on the CPU."""
    x = torch.view_as_real(x) if x.is_complex() else x
    return x.flatten(1).to("cpu", torch.float64)
