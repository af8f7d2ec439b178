"""Sizes of the field of view: readout oversampling taken away, pictures cut to their middle."""

from __future__ import annotations

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier


def crop(x: Tensor, size: int, axis: int) -> Tensor:
    """The middle of an axis, index n//2 to index size//2; a view.

    Raises
    ------
    UsageError
        If there is less than that.
    """
    n = x.shape[axis]
    if not 1 <= size <= n:
        raise UsageError(f"expected a size of 1 to {n} to cut out, got {size}")
    return x.narrow(axis, n // 2 - size // 2, size)


def crop_picture(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle (rows, columns) of pictures [..., y, x]; a view."""
    return crop(crop(image, size[0], -2), size[1], -1)


def remove_oversampling(kspace: Tensor, size: int, *, axis: int = -2) -> Tensor:
    """k-space of the middle of the field of view along the readout.

    Parameters
    ----------
    kspace
        complex [..., y, x], fully sampled along `axis`.
    size
        Samples to keep, of the doubled (or so) field of view.
    axis
        The readout.

    Returns
    -------
    Tensor
        complex, `size` samples along `axis`; white noise keeps its variance.

    Raises
    ------
    UsageError
        If there are fewer samples.
    """
    if size == kspace.shape[axis]:
        return kspace
    axis = axis if axis < 0 else axis - kspace.ndim
    item = tuple(kspace.shape[axis:])
    flat = kspace.reshape(-1, *item)
    image = crop(Fourier(item, (0,)).apply_adjoint(flat), size, 1)
    return Fourier((size, *item[1:]), (0,)).apply(image).reshape(*kspace.shape[:axis], size, *item[1:])
