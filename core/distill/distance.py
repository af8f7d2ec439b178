"""How far a student's answer is from its target: functions ``(answer, target, mask=None) -> [batch]``.

Means over the item, not sums, so that a weight means the same in every dimension; with a mask, over what it keeps.
Targets get no gradient.
"""

from collections.abc import Callable

from torch import Tensor

Distance = Callable[..., Tensor]
"""``distance(answer, target) -> [batch]``; one that is used on padded items takes ``mask`` as well."""


def mse(answer: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of squared absolute differences (real or complex): two of [batch, ...] -> [batch]."""
    return mean((answer - target.detach()).abs().square(), mask)


def l1(answer: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of absolute differences: two of [batch, ...] -> [batch]."""
    return mean((answer - target.detach()).abs(), mask)


def pseudo_huber(answer: Tensor, target: Tensor, mask: Tensor | None = None, *, c: float = 0.03) -> Tensor:
    """sqrt(mean |d|² + c²) − c: quadratic for small differences, linear for large (arXiv:2310.14189).

    Parameters
    ----------
    answer, target
        [batch, ...].
    mask
        True or 1 where an item counts, broadcast to `answer`; None: everywhere.
    c
        Where the two regimes meet, as a root mean square.

    Returns
    -------
    Tensor
        [batch].
    """
    return (mse(answer, target, mask) + c * c).sqrt() - c


def mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over each item, of what `mask` keeps: [batch, ...] -> [batch]."""
    if mask is None:
        return values.flatten(1).mean(dim=1)
    weight = mask.to(values.dtype).expand_as(values)
    return (values * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1).clamp(min=1)
