"""Losses for restoration nets."""

from __future__ import annotations

from torch import Tensor


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
