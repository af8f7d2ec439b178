"""What a recipe is: a loss on nets that are bound to a batch. `lit/` and the rooms supply nets, batches and optimisers.

A recipe is a frozen dataclass of options with `loss(nets, path, items, generator) -> [batch]`; one that keeps a
denoiser of the student's own law has `fake_loss` too. New recipes are new files here.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


@dataclass(frozen=True)
class Nets:
    """Denoisers ``(x, t) -> x0_hat`` with t [batch], told the batch's condition already.

    Parameters
    ----------
    student
        What learns.
    target
        Its moving average, without gradient.
    teacher
        Frozen; guided, if guidance is to be distilled.
    fake
        The denoiser of the student's law, for recipes that keep one.
    """

    student: Denoise
    target: Denoise
    teacher: Denoise
    fake: Denoise | None = None

    def of_student(self) -> Denoise:
        """The fake denoiser.

        Raises
        ------
        UsageError
            If there is none.
        """
        if self.fake is None:
            raise UsageError("this recipe needs a `fake` denoiser of the student's law beside student and teacher")
        return self.fake


@dataclass(frozen=True)
class Items:
    """A batch.

    Parameters
    ----------
    x0
        Data [batch, ...], or the teacher's end points if `eps` is given. Recipes that need no data read its shape.
    y
        Degraded end of the path, shaped like `x0`; None is 0.
    eps
        The noise that the teacher carried to `x0`, for recipes of pairs.
    """

    x0: Tensor
    y: Tensor | None = None
    eps: Tensor | None = None

    def noise(self, generator: torch.Generator) -> Tensor:
        """Fresh standard normal noise, shaped like x0; the generator lives on the CPU."""
        return torch.randn(self.x0.shape, generator=generator, dtype=self.x0.dtype).to(self.x0.device)

    def carried(self) -> Tensor:
        """The noise of a pair.

        Raises
        ------
        UsageError
            If these are no pairs.
        """
        if self.eps is None:
            raise UsageError("this recipe learns from pairs (noise, the teacher's end point), got data only")
        return self.eps

    def uniform(self, generator: torch.Generator, low: float, high: float) -> Tensor:
        """Times between two bounds, one per item, stratified over the batch."""
        n = len(self.x0)
        draws = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
        return (low + (high - low) * draws).to(self.x0.device)


@runtime_checkable
class Recipe(Protocol):
    """Anything with a loss; `pairs` tells whether `Items.eps` is needed."""

    pairs: bool

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""


@runtime_checkable
class FakeRecipe(Recipe, Protocol):
    """One whose `Nets.fake` is to be trained on the student's samples by turns."""

    def fake_loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
