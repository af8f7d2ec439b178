"""How far a student's answer is from its target: functions ``(answer, target) -> [batch]``, means over the item.

Means, not sums, so that a weight means the same in every dimension. Targets get no gradient.
"""

from collections.abc import Callable

from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]
"""``distance(answer, target) -> [batch]``."""


def mse(answer: Tensor, target: Tensor) -> Tensor:
    """Mean of squared absolute differences (real or complex): two of [batch, ...] -> [batch]."""
    return _mean((answer - target.detach()).abs().square())


def l1(answer: Tensor, target: Tensor) -> Tensor:
    """Mean of absolute differences: two of [batch, ...] -> [batch]."""
    return _mean((answer - target.detach()).abs())


def pseudo_huber(answer: Tensor, target: Tensor, *, c: float = 0.03) -> Tensor:
    """sqrt(mean |d|² + c²) − c: quadratic for small differences, linear for large (arXiv:2310.14189).

    Parameters
    ----------
    answer, target
        [batch, ...].
    c
        Where the two regimes meet, as a root mean square.

    Returns
    -------
    Tensor
        [batch].
    """
    return (mse(answer, target) + c * c).sqrt() - c


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1)
