"""What a recipe is: a loss on nets that are bound to a batch. `lit/` and the rooms supply nets, batches and optimisers.

A recipe is a frozen dataclass of options with `loss(nets, path, items, generator) -> [batch]`. What else it may have
says what else it needs: `fake_loss` a denoiser of the student's own law, `judge_loss` a discriminator, `told` a student
that is told more than its time, `grid` times of its own, `turn` an order of training. New recipes are new files here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from fewstep.core.distill.distance import Distance
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise

Judge = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``judge(x_r, r, x_t) -> scores``, of any shape [batch, ...]; larger is more real."""


@dataclass(frozen=True)
class Nets:
    """Denoisers ``(x, t) -> x0_hat`` with t [batch], told the batch's condition already.

    Parameters
    ----------
    student
        What learns; one that is told more (`Told`) takes ``r``, ``w``, ``z`` as keywords.
    target
        Its moving average, without gradient.
    teacher
        Frozen; guided, if guidance is to be distilled.
    fake
        The denoiser of the student's law, for recipes that keep one.
    judge
        The discriminator, for recipes that keep one.
    guided
        ``guided(w) -> denoise``: the teacher with guidance weights [batch]; None where batches have no ``uncond``.
    refine
        ``refine(x, t, v) -> change of v``, for the recipe that trains a refiner of velocities.
    """

    student: Callable[..., Tensor]
    target: Callable[..., Tensor]
    teacher: Denoise
    fake: Denoise | None = None
    judge: Judge | None = None
    guided: Callable[[Tensor], Denoise] | None = None
    refine: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    def of_student(self) -> Denoise:
        """The fake denoiser.

        Raises
        ------
        UsageError
            If there is none.
        """
        return _there(self.fake, "a `fake` denoiser of the student's law beside student and teacher")

    def discriminator(self) -> Judge:
        """The discriminator.

        Raises
        ------
        UsageError
            If there is none.
        """
        return _there(self.judge, "a `judge` that tells pairs of states apart")


def _there(net: Any, what: str) -> Any:
    if net is None:
        raise UsageError(f"this recipe needs {what}")
    return net


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
    t
        [batch]: `eps` is the state of the teacher's trajectory at this time instead; None: the noise it came from.
    cond
        What the nets are told, for distances that need it (`measured`).
    mask
        False where an item is padding, broadcast to `x0`; None: nowhere.
    iteration
        How many batches were seen before, for recipes that change on the way.
    near
        [groups, m, ...]: further data for each group of consecutive items, which are told the same; for recipes that
        compare sets.
    """

    x0: Tensor
    y: Tensor | None = None
    eps: Tensor | None = None
    mask: Tensor | None = None
    iteration: int = 0
    t: Tensor | None = None
    cond: Any = None
    near: Tensor | None = None

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

    def measured(self, distance: Distance) -> Distance:
        """A distance over what is not padding; one with a true attribute ``told`` gets `cond` as well."""
        more = {} if self.mask is None else {"mask": self.mask}
        if getattr(distance, "told", False):
            more["cond"] = self.cond
        return partial(distance, **more) if more else distance


def grid(path: AffinePath, steps: int, times: Sequence[float] | None = None) -> Tensor:
    """A student's decreasing times [steps + 1], float32: those given, else even ones from t_max to 0.

    Raises
    ------
    UsageError
        If there is no step, or the times given are not `steps` + 1 falling ones from at most t_max to at least 0.
    """
    if steps < 1:
        raise UsageError(f"expected at least one step, got {steps=}")
    if times is None:
        return path.t_max * torch.linspace(1, 0, steps + 1)
    given = torch.tensor([float(t) for t in times])
    falling = len(given) == steps + 1 and bool((given.diff() < 0).all())
    if not falling or given[0] > path.t_max or given[-1] < 0:
        raise UsageError(f"expected {steps + 1} falling times in [0, {path.t_max}] for {steps=}, got {list(times)}")
    return given


@runtime_checkable
class Recipe(Protocol):
    """Anything with a loss."""

    @property
    def pairs(self) -> bool:
        """Whether it learns from pairs."""

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""


@runtime_checkable
class FakeRecipe(Recipe, Protocol):
    """One whose `Nets.fake` is to be trained on the student's samples by turns."""

    def fake_loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""


@runtime_checkable
class JudgedRecipe(Recipe, Protocol):
    """One whose `Nets.judge` is to be trained to tell the student's states from real ones by turns."""

    def judge_loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
