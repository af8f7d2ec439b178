"""Drifting: answers of one call move towards data told the same and away from each other, until both balance.

Deng et al. 2026 (arXiv:2602.04770). For answers x_1..x_n of one condition and data y of the same condition, with a
kernel k = exp(−|f(x) − f(y)| / (T d)), d the mean distance between answers and data, normalised over the answers and
over what acts on them (the geometric mean of both softmaxes):

V(x) = Σ_y Σ_x' k(x, y) k(x, x') (y − x')

is antisymmetric in data and answers, so it has mean zero where both have one law. The student learns x + V as a fixed
target. A small T looks at the nearest data: it moves answers that are like no datum, which the energy score, whose
distances are those within the whole law, hardly does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fewstep.core.distill.energy import whole
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

Carried = tuple[Sequence[Tensor], Sequence[tuple[Tensor, Tensor]]]
"""Features, and pairs of what directions are made of and what they act on."""


def forces(apart: Tensor, between: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """How much each answer is drawn to each datum and pushed from each other answer.

    Parameters
    ----------
    apart
        Distances between answers and data, [n, m].
    between
        Distances between answers, [n, n]; an answer does not push itself.
    temperature
        T, in units of the mean of `apart`.

    Returns
    -------
    pull, push : Tensor
        [n, m] and [n, n], with equal sums over each row; scaled so that those sums are 1 on average.
    """
    n, m = apart.shape
    scale = temperature * apart.mean().clamp(min=torch.finfo(apart.dtype).tiny)
    alone = torch.eye(n, dtype=torch.bool, device=apart.device)
    nearness = -torch.cat([apart / scale, (between / scale).masked_fill(alone, torch.inf)], dim=1)
    kernel = (nearness.softmax(dim=1) * nearness.softmax(dim=0)).sqrt()
    to_data, to_answers = kernel[:, :m], kernel[:, m:]
    pull = to_data * to_answers.sum(dim=1, keepdim=True)
    push = to_answers * to_data.sum(dim=1, keepdim=True)
    total = pull.sum(dim=1).mean().clamp(min=torch.finfo(apart.dtype).tiny)
    return pull / total, push / total


@dataclass(frozen=True)
class Drifting:
    """Answers in one call from the prior are to have the law of the data that are told the same.

    Batches hold groups of consecutive items that are told the same (or as good as): ``x0`` [groups · n, ...], of which
    the shape is read, and ``near`` [groups, m, ...], data of each group.

    Parameters
    ----------
    temperatures
        T, several; directions are averaged.
    features
        ``x -> several [batch, ...]``, what distances are measured on and what is moved. If it has a method
        ``carried(x)``, that is asked instead: the features, and pairs of what directions are made of and what they act
        on (the same thing, or its logits).
    weight
        Of the loss, beside another recipe's.

    Raises
    ------
    UsageError
        If there is no temperature, or one is not positive.
    """

    temperatures: Sequence[float] = (0.05, 0.1, 0.2)
    features: Any = whole
    weight: float = 1.0
    pairs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.temperatures or min(self.temperatures) <= 0:
            raise UsageError(f"expected positive temperatures, got {list(self.temperatures)}")

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """Half the squared length of what is to move, [batch]; its gradient is the direction.

        Raises
        ------
        UsageError
            If there are no ``near`` data, groups have one item, or items are padded.
        """
        near = items.near
        if near is None or len(items.x0) % len(near) or len(items.x0) < 2 * len(near):
            found = "none" if near is None else f"{list(near.shape)} for {len(items.x0)} items"
            raise UsageError(
                "drifting needs groups of at least 2 items told the same and data `near` [groups, m, ...] of each, "
                f"got {found}"
            )
        if items.mask is not None:
            raise UsageError("drifting has no padded items: give batches of one size, without 'mask'")
        last = torch.full((len(items.x0),), path.t_max, device=items.x0.device)
        answers = nets.student(path.prior(items.noise(generator), items.y), last)
        with torch.autocast(answers.device.type, enabled=False):
            answers = answers.to(items.x0.dtype)
            with torch.no_grad():
                theirs = self._carried(near.flatten(0, 1))
            return self.weight * self._moved(self._carried(answers), theirs, groups=len(near))

    def _carried(self, x: Tensor) -> Carried:
        if hasattr(self.features, "carried"):
            return self.features.carried(x)
        found = self.features(x)
        return found, [(one, one) for one in found]

    def _moved(self, ours: Carried, theirs: Carried, *, groups: int) -> Tensor:
        (seen, moved), (measured, carried) = ours, theirs
        x, y = (
            torch.cat([f.detach().flatten(1) for f in some], dim=1).unflatten(0, (groups, -1))
            for some in (seen, measured)
        )
        weights = [self._forces(torch.cdist(a, b), torch.cdist(a, a)) for a, b in zip(x, y, strict=True)]
        total = torch.zeros(x.shape[:2], dtype=x.dtype, device=x.device)
        for (made, handle), (data, _) in zip(moved, carried, strict=True):
            made, handle, data = (v.flatten(1).unflatten(0, (groups, -1)) for v in (made, handle, data))
            made = made.detach()
            v = torch.stack([pull @ d - push @ a for (pull, push), d, a in zip(weights, data, made, strict=True)])
            toward = -(v * handle).sum(dim=2)
            total = total + toward - toward.detach() + v.square().sum(dim=2) / 2
        return total.flatten()

    def _forces(self, apart: Tensor, between: Tensor) -> tuple[Tensor, Tensor]:
        found = [forces(apart, between, temperature=t) for t in self.temperatures]
        pull, push = (torch.stack(some).mean(dim=0) for some in zip(*found, strict=True))
        return pull, push
