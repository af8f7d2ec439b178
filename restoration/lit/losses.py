"""Losses and the learning rate's course for restoration nets."""

from __future__ import annotations

import math

from torch import Tensor


def cosine(step: int, *, steps: int, warmup: int = 100, least: float = 0.002) -> float:
    """Up over `warmup` steps, then half a cosine down to `least` of the learning rate.

    Parameters
    ----------
    step
        Steps done.
    steps
        Of the whole run.
    warmup
        Of the rise.
    least
        Share of the learning rate that is left at the end.

    Returns
    -------
    float
        The factor.
    """
    if step < warmup:
        return (step + 1) / warmup
    part = min(1.0, (step - warmup) / max(1, steps - warmup))
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * part))


def absolute(x: Tensor, x0: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |x − x0|, inside the hole if there is one."""
    return _mean((x - x0).abs(), mask)


def squared(x: Tensor, x0: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    """Mean weighted (x − x0)², inside the hole if there is one; weight [batch]."""
    errors = (x - x0).square()
    return _mean(errors if weight is None else errors * weight.reshape(-1, 1, 1, 1), mask)


def _mean(errors: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return errors.mean()
    hole = mask.expand_as(errors).to(errors.dtype)
    return (errors * hole).sum() / hole.sum().clamp(min=1)
