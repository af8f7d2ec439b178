"""The operator of parallel imaging, A = mask · F · S: an image seen by coils, transformed, and sampled by a mask.

Pruessmann et al. 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S. A mask that is constant along
an axis commutes with the transform along that axis, so that A.N needs no FFT over it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators import Coils, Diagonal, Fourier, LinearOperator, compose


def sense(coil_maps: Tensor, mask: Tensor) -> LinearOperator:
    """Images to undersampled k-space.

    Parameters
    ----------
    coil_maps
        complex [batch, coil, y, x], or [coil, y, x] for all items.
    mask
        bool, [y, x], [1, x], [y, 1], with or without a batch in front.

    Returns
    -------
    LinearOperator
        [batch, y, x] -> [batch, coil, y, x], zeros where nothing was sampled; centred orthonormal FFT over (y, x).

    Raises
    ------
    UsageError
        If maps or mask are not of these shapes, or the mask is not bool.
    """
    if coil_maps.ndim not in (3, 4) or not coil_maps.is_complex():
        raise UsageError(
            f"expected complex coil maps [batch, coil, y, x], got {coil_maps.dtype} {list(coil_maps.shape)}"
        )
    whole = tuple(coil_maps.shape[-3:])
    return compose((sampling(mask, whole), Coils(coil_maps, whole[-2:])))


def sampling(mask: Tensor, shape: Sequence[int]) -> LinearOperator:
    """mask · F, the centred orthonormal FFT over (y, x) of items [..., y, x] and what of it was sampled.

    Parameters
    ----------
    mask
        As for `sense`.
    shape
        Of an item, (coil, y, x) or (y, x).

    Returns
    -------
    LinearOperator
        Its parts are ordered so that an axis along which the mask is constant needs no FFT in the normal operator.

    Raises
    ------
    UsageError
        If the mask does not broadcast to [y, x], or is not bool.
    """
    shape = tuple(shape)
    values = narrow(_checked(mask, shape))
    if len(shape) == 3 and values.ndim == 3:
        values = values.unsqueeze(1)
    cut = Diagonal(values, shape)
    for constant, other in ((-2, -1), (-1, -2)):
        if values.shape[constant] == 1 and shape[constant] > 1:
            return compose((Fourier(shape, (constant,)), cut, Fourier(shape, (other,))))
    return compose((cut, Fourier(shape, (-2, -1))))


def narrow(mask: Tensor) -> Tensor:
    """A mask [..., y, x] with an axis of size 1 where all its rows, or all its columns, are alike."""
    for axis in (-2, -1):
        first = mask.narrow(axis, 0, 1)
        if mask.shape[axis] > 1 and torch.equal(mask, first.expand_as(mask)):
            return first
    return mask


def _checked(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    height, width = shape[-2:]
    if not isinstance(mask, Tensor) or mask.dtype is not torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise UsageError(f"expected a mask of bool, got {got}: compare with 0 to make one")
    if mask.ndim not in (2, 3) or mask.shape[-2] not in (1, height) or mask.shape[-1] not in (1, width):
        raise UsageError(
            f"expected a mask [y, x] that broadcasts to [{height}, {width}], with or without a batch in front, "
            f"got {list(mask.shape)}"
        )
    return mask
