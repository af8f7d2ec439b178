"""Coil sensitivities: one image seen by several coils, S x = (c_1 x, ..., c_n x); SENSE is mask @ Fourier @ Coils.

Pruessmann et al. 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S, eq. 1.
"""

from dataclasses import dataclass

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape, batch_of, per_item
from fewstep.core.operators.pointwise import Diagonal, reciprocal, square


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

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        """The matched combination of coils, weighted pixel by pixel."""
        total = square(self.maps).sum(-len(self.shape) - 1)
        return Diagonal(reciprocal(total, per_item(damping, len(self.shape))), self.shape) @ self.H

    def apply(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) * self.maps

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return (y * self.maps.conj()).sum(1)
