"""DisBack: let the teacher degrade to the untrained student's law, then lead the student back along that way.

Zhang et al. 2024 (arXiv:2408.15991). Stage 1 trains a copy of the teacher on the samples of the student as it is at the
beginning and keeps snapshots; in stage 2 the snapshots, in reverse, are the successive targets of distribution
matching, and the teacher itself is the last.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill.distribution import DistributionMatching, backtrack
from fewstep.core.distill.recipe import FakeRecipe, Items, Nets
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


@dataclass(frozen=True)
class Turn:
    """What happens in an iteration.

    Parameters
    ----------
    learns
        Whether the student learns, or only the denoiser of its law.
    keep
        The snapshot that is taken of the latter after this iteration, or None.
    target
        The snapshot that is the target, or None for the teacher.
    """

    learns: bool = True
    keep: int | None = None
    target: int | None = None


@dataclass(frozen=True)
class Relay:
    """Distribution matching against a teacher that comes back by stages.

    Parameters
    ----------
    method
        How laws are matched.
    snapshots, degrade
        How many are kept, and how many iterations stage 1 has, a multiple of it.
    every
        Iterations of stage 2 for each snapshot.

    Raises
    ------
    UsageError
        If the numbers do not fit.
    """

    method: FakeRecipe = field(default_factory=DistributionMatching)
    snapshots: int = 4
    degrade: int = 200
    every: int = 100
    pairs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.snapshots < 1 or self.degrade < 1 or self.degrade % self.snapshots or self.every < 1:
            raise UsageError(
                f"expected degrade to be a positive multiple of snapshots, and every >= 1, got {self.snapshots=}, "
                f"{self.degrade=}, {self.every=}"
            )

    def turn(self, iteration: int) -> Turn:
        """The order of training: `degrade` iterations of recording, then the way back."""
        if iteration < self.degrade:
            number, rest = divmod(iteration + 1, self.degrade // self.snapshots)
            return Turn(learns=False, keep=None if rest else number - 1)
        stage = backtrack(iteration - self.degrade, stages=self.snapshots, every=self.every)
        return Turn(target=None if stage == self.snapshots else self.snapshots - 1 - stage)

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]; `Nets.teacher` is the target of the turn."""
        return self.method.loss(nets, path, items, generator)

    def fake_loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        return self.method.fake_loss(nets, path, items, generator)
