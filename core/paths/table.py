"""Piecewise linear functions of an index, and their inverses, for processes that come as tables of numbers."""

import torch
from torch import Tensor


def interpolate(index: Tensor, values: Tensor) -> Tensor:
    """`values` [n] at real indices in [0, n − 1]; the ends go on straight."""
    return _at(index, values) + (index - _floor(index, values)) * slope(index, values)


def slope(index: Tensor, values: Tensor) -> Tensor:
    """How fast `values` [n] change per index at real indices."""
    values = values.to(index.device, index.dtype)
    low = _floor(index, values).long()
    return values[low + 1] - values[low]


def find(value: Tensor, values: Tensor) -> Tensor:
    """The real index at which increasing `values` [n] reach `value`."""
    values = values.to(value.device, value.dtype)
    low = (torch.searchsorted(values, value.contiguous().detach()) - 1).clamp(0, len(values) - 2)
    return low + (value - values[low]) / (values[low + 1] - values[low])


def _floor(index: Tensor, values: Tensor) -> Tensor:
    return index.detach().floor().clamp(0, len(values) - 2)


def _at(index: Tensor, values: Tensor) -> Tensor:
    values = values.to(index.device, index.dtype)
    return values[_floor(index, values).long()]
