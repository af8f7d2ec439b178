"""The energy score: a student of one call learns the data's law from draws, without a teacher or a discriminator.

For answers X, X' from independent noise, told the same as a datum x (Gneiting & Raftery 2007, JASA 102, section 4.3)

score(x) = E |X − x| − ½ E |X − X'|

is least in expectation where the answers have the data's law given the condition: the first term alone would draw all
answers to a median, the second keeps them apart. For generators: De Bortoli et al. 2025 (arXiv:2502.02483). Distances
are those of features, summed over several features; each alone gives a proper score of its own law.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

Features = Callable[[Tensor], Sequence[Tensor]]
"""``features(x) -> several [batch, ...]``; scaled as they are to count."""


def whole(x: Tensor) -> Sequence[Tensor]:
    """The signal itself, so that |.| is a root mean square: [batch, ...] -> one [batch, ...]."""
    return [x / x[0].numel() ** 0.5]


def energy_score(answers: Sequence[Tensor], x0: Tensor, *, features: Features = whole, floor: float = 1e-4) -> Tensor:
    """The unbiased estimate of the score from m answers per datum.

    Parameters
    ----------
    answers
        m of [batch, ...], from independent noise; m at least 2.
    x0
        The data, [batch, ...]; gets no gradient.
    features
        What distances are measured on.
    floor
        Added under each root, so that equal answers have a gradient.

    Returns
    -------
    Tensor
        [batch], differentiable in the answers.

    Raises
    ------
    UsageError
        If there are fewer than two answers.
    """
    if len(answers) < 2:
        raise UsageError(f"the energy score compares answers with each other: expected at least 2, got {len(answers)}")
    with torch.no_grad():
        truth = features(x0)
    seen = [features(answer) for answer in answers]
    apart = [_apart(answer, truth, floor) for answer in seen]
    between = [_apart(one, other, floor) for one, other in combinations(seen, 2)]
    return torch.stack(apart).mean(0) - torch.stack(between).mean(0) / 2


def _apart(a: Sequence[Tensor], b: Sequence[Tensor], floor: float) -> Tensor:
    """Sum over features of Euclidean distances, [batch]."""
    squares = [(x - y).abs().square().flatten(1).sum(1) for x, y in zip(a, b, strict=True)]
    return torch.stack([(square + floor).sqrt() for square in squares]).sum(0)


@dataclass(frozen=True)
class EnergyScore:
    """Answers in one call from the prior are to have the data's law.

    Parameters
    ----------
    draws
        Answers per datum, at least 2.
    features
        See `energy_score`.
    weight
        Of the score, beside another recipe's loss.

    Raises
    ------
    UsageError
        If there are fewer than two draws.
    """

    draws: int = 2
    features: Features = whole
    weight: float = 1.0
    pairs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise UsageError(f"the energy score compares answers: expected at least 2 draws, got {self.draws}")

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        last = torch.full((len(items.x0),), path.t_max, device=items.x0.device)
        keep = 1 if items.mask is None else items.mask
        answers = [
            nets.student(path.prior(items.noise(generator) * keep, items.y), last) * keep for _ in range(self.draws)
        ]
        with torch.autocast(items.x0.device.type, enabled=False):  # differences of near equal numbers
            answers = [answer.to(items.x0.dtype) for answer in answers]
            return self.weight * energy_score(answers, items.x0 * keep, features=self.features)
