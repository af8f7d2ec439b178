"""The centred orthonormal Fourier transform, and what it makes diagonal: circular convolutions.

    F x [k] = n^(-1/2) sum_j x[j] exp(−2 pi i (j − n//2)(k − n//2) / n),     F.H F = I, odd and even n alike

F.H D F with a diagonal D shifts there and back: it is a circular convolution whose spectrum is D rolled once, so that
A.N of an undersampled transform needs two plain FFTs and one product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape, batch_of, per_item, times
from fewstep.core.operators.pointwise import Diagonal, Identity, inverse, square


@dataclass(frozen=True, eq=False)
class Fourier(LinearOperator):
    """Centred orthonormal transform over some axes of an item.

    Parameters
    ----------
    shape
        Of an item.
    axes
        Counted in the item, from the front or, negative, from the end.

    Raises
    ------
    UsageError
        If an axis is not there or given twice.
    """

    shape: Shape
    axes: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "axes", from_the_end(self.axes, self.shape))

    @property
    def shape_in(self) -> Shape:
        return self.shape

    @property
    def shape_out(self) -> Shape:
        return self.shape

    @property
    def isometry(self) -> float:
        return 1.0

    @property
    def coisometry(self) -> float:
        return 1.0

    @property
    def N(self) -> LinearOperator:
        return Identity(self.shape)

    def sandwich(self, middle: LinearOperator) -> LinearOperator:
        if not isinstance(middle, Diagonal):
            return super().sandwich(middle)
        sizes = [self.shape[axis] if axis in self.axes else -1 for axis in range(-len(self.shape), 0)]
        values = middle.values[(None,) * max(0, len(sizes) - middle.values.ndim)]
        whole = values.expand(*values.shape[: -len(sizes)], *sizes)
        return Circulant(torch.fft.ifftshift(whole, dim=self.axes), self.axes, self.shape)

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        inner = Identity(self.shape).ridge(damping)
        return inner @ self.H

    def apply(self, x: Tensor) -> Tensor:
        return self._centred(torch.fft.fftn, x)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self._centred(torch.fft.ifftn, y)

    def _centred(self, transform: Callable[..., Tensor], x: Tensor) -> Tensor:
        if any(self.shape[axis] % 2 for axis in self.axes):
            return torch.fft.fftshift(
                transform(torch.fft.ifftshift(x, dim=self.axes), dim=self.axes, norm="ortho"), dim=self.axes
            )
        sizes = tuple(self.shape[axis] if axis in self.axes else 1 for axis in range(-len(self.shape), 0))
        before, after = _signs(sizes, x.device, x.real.dtype if x.is_complex() else x.dtype)
        return transform(x * before, dim=self.axes, norm="ortho").mul_(after)


@lru_cache(maxsize=64)
def _signs(sizes: Shape, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Before and after a plain transform of even sizes: half a period there is a factor (−1)^j here, and no copy."""
    with torch.inference_mode(False):
        after = torch.ones((), device=device, dtype=dtype)
        for axis, n in enumerate(sizes):
            line = torch.ones(n, device=device, dtype=dtype)
            line[1::2] = -1
            after = after * line.view(-1, *[1] * (len(sizes) - 1 - axis))
        return after * (-1) ** sum(n // 2 for n in sizes), after


@dataclass(frozen=True, eq=False)
class Circulant(LinearOperator):
    """Circular convolution: x -> ifft(spectrum fft(x)), not centred.

    Parameters
    ----------
    spectrum
        Of the kernel, real, complex or bool, broadcast to `shape`, or to [batch, *shape] if it has one axis more.
    axes
        Counted in the item.
    shape
        Of an item.
    keeps_real
        Whether the kernel is real, so that real items stay real.

    Raises
    ------
    UsageError
        If the spectrum does not broadcast to the shape, or an axis is not there or given twice.
    """

    spectrum: Tensor
    axes: Sequence[int]
    shape: Shape
    keeps_real: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "axes", from_the_end(self.axes, self.shape))
        Diagonal(self.spectrum, self.shape)

    @property
    def shape_in(self) -> Shape:
        return self.shape

    @property
    def shape_out(self) -> Shape:
        return self.shape

    @property
    def batch(self) -> int | None:
        return batch_of(self.spectrum, len(self.shape), "the spectrum of Circulant")

    @property
    def H(self) -> "Circulant":
        return self._with(self.spectrum.conj())

    @property
    def N(self) -> LinearOperator:
        return self._with(square(self.spectrum))

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        return self._with(inverse(self.spectrum, per_item(damping, len(self.shape))))

    def apply(self, x: Tensor) -> Tensor:
        return self._convolved(x, self.spectrum)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self._convolved(y, self.spectrum.conj())

    def _with(self, spectrum: Tensor) -> "Circulant":
        return Circulant(spectrum, self.axes, self.shape, self.keeps_real)

    def _convolved(self, x: Tensor, spectrum: Tensor) -> Tensor:
        out = torch.fft.ifftn(times(torch.fft.fftn(x, dim=self.axes), spectrum), dim=self.axes)
        return out.real if self.keeps_real and not x.is_complex() else out


def blur(kernel: Tensor, shape: Sequence[int]) -> Circulant:
    """Circular convolution of the last axes of an item with a kernel whose middle, at n//2, is its origin.

    Parameters
    ----------
    kernel
        Real or complex, [height, width] or of any other rank up to that of an item.
    shape
        Of an item; the kernel is no larger along its axes.

    Returns
    -------
    Circulant

    Raises
    ------
    UsageError
        If the kernel has more axes than an item, or is larger.
    """
    shape, rank = tuple(shape), kernel.ndim
    if not 0 < rank <= len(shape) or any(k > n for k, n in zip(kernel.shape, shape[-rank:], strict=True)):
        raise UsageError(f"expected a kernel no larger than items of {list(shape)}, got {list(kernel.shape)}")
    axes = tuple(range(-rank, 0))
    padded = kernel.new_zeros(shape[-rank:])
    padded[tuple(slice(0, k) for k in kernel.shape)] = kernel
    padded = padded.roll([-(k // 2) for k in kernel.shape], dims=axes)
    return Circulant(torch.fft.fftn(padded), axes, shape, keeps_real=not kernel.is_complex())


def from_the_end(axes: Sequence[int], shape: Shape) -> tuple[int, ...]:
    """Axes of an item counted from its end, so that a batch in front does not matter.

    Raises
    ------
    UsageError
        If an axis is not there or given twice.
    """
    rank = len(shape)
    counted = tuple(axis if axis < 0 else axis - rank for axis in axes)
    if not counted or len(set(counted)) != len(counted) or any(not -rank <= axis < 0 for axis in counted):
        raise UsageError(f"expected different axes of items of {list(shape)}, got {list(axes)}")
    return counted
