"""What every method is: options, called with a problem. Slices are solved one by one, so that batch = loop.

method(problem, seed=0) -> Result(image, nfe, residual, samples)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.mri.problem import Problem, Slice, normalised


@dataclass(frozen=True)
class Result:
    """What came out.

    Parameters
    ----------
    image
        complex64 [batch, y, x], in the unit of k-space; the mean where there are samples.
    nfe
        Network calls per sample; 0 for classical methods.
    residual
        |A x − y| / |y|, [batch].
    samples
        complex64 [batch, sample, y, x], or None where the method does not draw from a posterior.
    spread
        What the samples' standard deviation is multiplied by to match errors.
    """

    image: Tensor
    nfe: int
    residual: Tensor
    samples: Tensor | None = None
    spread: float = 1.0

    @property
    def std(self) -> Tensor | None:
        """Expected error: `spread` times the samples' standard deviation, [batch, y, x]; None for fewer than 2."""
        if self.samples is None or self.samples.shape[1] < 2:
            return None
        squares = (self.samples - self.samples.mean(1, keepdim=True)).abs().square().sum(1)
        return self.spread * squares.div(self.samples.shape[1] - 1).sqrt()


@dataclass(frozen=True)
class Method(ABC):
    """A frozen set of options."""

    @abstractmethod
    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """Answers for one slice in the unit of the priors, complex64 [sample, y, x], and network calls per sample."""

    @property
    def draws(self) -> bool:
        """Whether the answers are samples of a posterior."""
        return False

    @property
    def spread(self) -> float:
        """What the samples' standard deviation is multiplied by to match errors."""
        return 1.0

    def __call__(self, problem: Problem, *, seed: int = 0) -> Result:
        """Reconstruct.

        Parameters
        ----------
        problem
            A batch of slices.
        seed
            Slice i of the batch draws what slice 0 draws with ``seed + i``.

        Returns
        -------
        Result
            0 outside of the support of the coil maps.
        """
        answers, calls = [], 0
        for i in range(len(problem)):
            one = normalised(problem.item(i))
            answer, calls = self.solve(one, seed + i)
            answers.append(answer * one.scale)
        seen = (problem.coil_maps != 0).any(1, keepdim=True)
        samples = torch.stack(answers) * seen  # where no coil sees anything, no data contradict a prior
        image = samples.mean(1)
        return Result(image, calls, problem.residual(image), samples if self.draws else None, self.spread)


def sample_seeds(seed: int, samples: int) -> list[int]:
    """One seed for each sample of a slice, the first of which do not change with their number."""
    return [1000 * seed + j for j in range(samples)]
