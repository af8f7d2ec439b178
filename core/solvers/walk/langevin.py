"""Predictor-corrector sampling: before each step, Langevin steps at the time where the state is.

    x <- x + r score + sqrt(2 r) z,     score = (a D − u)/s²

with r = 2 (snr |z|/|score|)² ("langevin") or r = 2 (snr s)² ("annealed"). A shift by b y at fixed t leaves this step as
it is, so it serves every path (Song et al. 2021, arXiv:2011.13456, algorithms 4 and 5; in speech enhancement, Richter
et al. 2023, arXiv:2208.05830).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.solvers.first_order import ddpm
from fewstep.core.solvers.walk.affine import Predictor, advance, as_predictor
from fewstep.core.solvers.walk.ground import Ground, Steps
from fewstep.core.types import Solver, StepInfo

RULES = ("annealed", "langevin")
NORMS = ("item", "batch")


@dataclass(frozen=True)
class PredictorCorrector:
    """`corrections` + 1 evaluations per step."""

    predictor: Predictor
    rule: str
    snr: float
    corrections: int
    norm: str

    def walk(self, ground: Ground) -> Steps:
        """Yield the state after each predictor step; its `denoised` is the answer that the predictor used."""
        x, times, rows = ground.x, ground.times.tolist(), self.predictor.affine(ground.path, ground.times)
        for i, row in enumerate(rows):
            for _ in range(self.corrections):
                x = self._corrected(ground, x, times[i], i)
            denoised = ground.ask(x, times[i], i)
            x = advance(ground, x, denoised, row)
            replacement = yield StepInfo(i, i, times[i], times[i + 1], x, denoised)
            x = x if replacement is None else replacement

    def _corrected(self, ground: Ground, x: Tensor, t: float, step: int) -> Tensor:
        a, b, s = (float(value) for value in ground.path.coefficients(t))
        if s == 0:
            return x
        denoised = ground.ask(x, t, step).to(x.dtype)
        score = (a * denoised - x if ground.y is None else a * denoised - x + b * ground.y) / s**2
        z = ground.normal()
        if self.rule == "annealed":
            r = 2 * (self.snr * s) ** 2
            return x + r * score + (2 * r) ** 0.5 * z
        ratio = self.snr * _norm(z, self.norm) / _norm(score, self.norm).clamp(min=torch.finfo(x.dtype).tiny)
        return x + 2 * ratio**2 * score + 2 * ratio * z


def _norm(x: Tensor, norm: str) -> Tensor:
    """Euclidean norm of each item, [batch, 1, ...]; or their mean over the batch."""
    each = torch.linalg.vector_norm(x.flatten(1), dim=1) if x.ndim > 1 else x.abs()
    return each.mean() if norm == "batch" else each.reshape(-1, *[1] * (x.ndim - 1))


def predictor_corrector(
    predictor: Solver | Predictor | None = None,
    *,
    rule: str = "annealed",
    snr: float = 0.5,
    corrections: int = 1,
    norm: str = "item",
) -> PredictorCorrector:
    """Predictor-corrector sampling.

    Parameters
    ----------
    predictor
        A solver of one evaluation per step without memory, or `euler_maruyama_x` (what SGMSE+ runs); default `ddpm`.
    rule
        ``"annealed"``, SGMSE+'s, or ``"langevin"``.
    snr
        Signal-to-noise ratio of a correction.
    corrections
        Langevin steps before each predictor step; 0 is the predictor alone.
    norm
        For ``"langevin"``: ``"item"``, so that an item does not depend on its batch, or ``"batch"``, the mean over the
        batch, as published code has it.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456, algorithms 1, 4 and 5; Richter et al. 2023, arXiv:2208.05830.
    """
    if rule not in RULES or norm not in NORMS:
        raise UsageError(f"expected rule out of {RULES} and norm out of {NORMS}, got {rule!r} and {norm!r}")
    if not snr > 0 or corrections < 0:
        raise UsageError(f"expected snr > 0 and corrections >= 0, got {snr} and {corrections}")
    return PredictorCorrector(as_predictor(predictor or ddpm()), rule, snr, corrections, norm)
