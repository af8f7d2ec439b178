"""How a diffusion is sampled: from a number of steps to a solver and its times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fewstep.core import solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.walk import euler_maruyama_x, predictor_corrector


class Sampler(Protocol):
    """What `clean_spectrum` asks."""

    def plan(self, path: AffinePath, steps: int) -> tuple[Any, Tensor]:
        """A solver or walk, and decreasing times."""

    def calls(self, steps: int) -> int:
        """Network calls."""


@dataclass(frozen=True)
class Even:
    """Even times from the path's end to the data, by DDIM.

    Parameters
    ----------
    eta
        1 draws the noise of the process anew at each step (DDPM; on a bridge, the SDE of arXiv:2407.16074), 0 none.
    """

    eta: float = 1.0

    def plan(self, path: AffinePath, steps: int) -> tuple[Any, Tensor]:
        """DDIM on `steps` even steps."""
        return solvers.ddim(self.eta), times.uniform(path, steps)

    def calls(self, steps: int) -> int:
        """One per step."""
        return steps


@dataclass(frozen=True)
class PredictorCorrector:
    """SGMSE's sampler: annealed Langevin, then reverse diffusion; even times to `path.t_min`, then one step to 0.

    On a bridge the prediction is DDPM's.

    Parameters
    ----------
    snr
        Of a correction.
    corrections
        Before each step.

    References
    ----------
    Richter et al. 2023, arXiv:2208.05830, section IV-C (30 steps, snr 0.5).
    """

    snr: float = 0.5
    corrections: int = 1

    def plan(self, path: AffinePath, steps: int) -> tuple[Any, Tensor]:
        """The walk, and its times.

        Raises
        ------
        UsageError
            If there are fewer than two steps.
        """
        if steps < 2:
            raise UsageError(f"the predictor-corrector sampler takes at least 2 steps, got {steps}")
        even = times.uniform(path, steps - 1, end=path.t_min)
        pinned = float(path.coefficients(path.t_max)[2]) == 0  # there DDPM's step is finite, Euler's is not
        predictor = None if pinned else euler_maruyama_x()
        walk = predictor_corrector(predictor, rule="annealed", snr=self.snr, corrections=self.corrections)
        return walk, torch.cat([even, even.new_zeros(1)])

    def calls(self, steps: int) -> int:
        """The corrections and the prediction of every step."""
        return steps * (self.corrections + 1)
