"""Coil sensitivities: one image seen by several coils, S x = (c_1 x, ..., c_n x); SENSE is mask @ Fourier @ Coils.

Pruessmann et al. 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S, eq. 1.
"""

from dataclasses import dataclass

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape, batch_of, per_item
from fewstep.core.operators.fourier import Circulant
from fewstep.core.operators.pointwise import Diagonal, reciprocal, square

IN_CACHE = 4 * 2**20
"""Bytes of coil images from which on a CPU is faster with one coil at a time; measured with 4, 8 and 16 coils."""


@dataclass(frozen=True, eq=False)
class Coils(LinearOperator):
    """Images [*shape] to coil images [coil, *shape].

    Parameters
    ----------
    maps
        Coil maps, complex, [coil, *shape] or [batch, coil, *shape].
    shape
        Of an image.

    Raises
    ------
    UsageError
        If the maps are not of this shape.
    """

    maps: Tensor
    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        rank = len(self.shape)
        if self.maps.ndim not in (rank + 1, rank + 2) or self.maps.shape[-rank:] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise UsageError(f"expected maps [coil, {expected}] with or without a batch, got {list(self.maps.shape)}")

    @property
    def shape_in(self) -> Shape:
        return self.shape

    @property
    def shape_out(self) -> Shape:
        return (self.maps.shape[-len(self.shape) - 1], *self.shape)

    @property
    def batch(self) -> int | None:
        return batch_of(self.maps, len(self.shape) + 1, "coil maps")

    @property
    def N(self) -> LinearOperator:
        return Diagonal(square(self.maps).sum(-len(self.shape) - 1), self.shape)

    def sandwich(self, middle: LinearOperator) -> LinearOperator:
        rank = len(self.shape)
        if not isinstance(middle, Circulant) or min(middle.axes) < -rank or _coils(middle.spectrum, rank) != 1:
            return super().sandwich(middle)
        spectrum = middle.spectrum if middle.spectrum.ndim <= rank else middle.spectrum.squeeze(-rank - 1)
        return CoilConvolution(self, Circulant(spectrum, middle.axes, self.shape))

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        """The matched combination of coils, weighted pixel by pixel."""
        total = square(self.maps).sum(-len(self.shape) - 1)
        return Diagonal(reciprocal(total, per_item(damping, len(self.shape))), self.shape) @ self.H

    def apply(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) * self.maps

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return (y * self.maps.conj()).sum(1)


@dataclass(frozen=True, eq=False)
class CoilConvolution(LinearOperator):
    """S.H K S, the same circular convolution in every coil: the normal operator of SENSE.

    On a CPU it goes from coil to coil if all together are too large for the cache.

    Parameters
    ----------
    coils
        S.
    convolution
        K for one coil, over items of the image's shape.
    """

    coils: Coils
    convolution: Circulant

    @property
    def shape_in(self) -> Shape:
        return self.coils.shape

    @property
    def shape_out(self) -> Shape:
        return self.coils.shape

    @property
    def batch(self) -> int | None:
        return self.coils.batch or self.convolution.batch

    @property
    def H(self) -> LinearOperator:
        return CoilConvolution(self.coils, self.convolution.H)

    def apply(self, x: Tensor) -> Tensor:
        size = self.coils.shape_out[0] * x.numel() * x.element_size()
        return self._one_by_one(x) if x.device.type == "cpu" and size >= IN_CACHE else self._together(x)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self.H.apply(y)

    def _one_by_one(self, x: Tensor) -> Tensor:
        total = None
        for maps in self.coils.maps.unbind(-len(self.coils.shape) - 1):
            seen = self.convolution.apply(x * maps)
            total = seen * maps.conj() if total is None else total.addcmul_(seen, maps.conj())
        assert total is not None
        return total

    def _together(self, x: Tensor) -> Tensor:
        K, rank = self.convolution, len(self.coils.shape)
        spectrum = K.spectrum if K.spectrum.ndim < rank else K.spectrum.unsqueeze(-rank - 1)
        whole = Circulant(spectrum, K.axes, self.coils.shape_out)
        return self.coils.apply_adjoint(whole.apply(self.coils.apply(x)))


def _coils(spectrum: Tensor, rank: int) -> int:
    return spectrum.shape[-rank - 1] if spectrum.ndim > rank else 1
