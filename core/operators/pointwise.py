"""Operators that look at one element at a time: the identity, and multiplication by a tensor, such as a mask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape, batch_of, per_item


@dataclass(frozen=True, eq=False)
class Identity(LinearOperator):
    """A x = x, for items of a shape."""

    shape: Shape

    @property
    def shape_in(self) -> Shape:
        return tuple(self.shape)

    @property
    def shape_out(self) -> Shape:
        return tuple(self.shape)

    @property
    def isometry(self) -> float:
        return 1.0

    @property
    def coisometry(self) -> float:
        return 1.0

    @property
    def H(self) -> LinearOperator:
        return self

    @property
    def N(self) -> LinearOperator:
        return self

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        if isinstance(damping, Tensor):
            return Diagonal(1 / (1 + torch.as_tensor(per_item(damping, len(self.shape)))), self.shape_in)
        return self * (1 / (1 + damping))

    def apply(self, x: Tensor) -> Tensor:
        return x

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return y


@dataclass(frozen=True, eq=False)
class Diagonal(LinearOperator):
    """A x = values x, element by element.

    Parameters
    ----------
    values
        Real, complex or bool (a mask), broadcast to `shape`, or to [batch, *shape] if it has one axis more.
    shape
        Of an item.

    Raises
    ------
    UsageError
        If `values` do not broadcast to items of this shape.
    """

    values: Tensor
    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        batch_of(self.values, len(self.shape), "the values of Diagonal")
        sizes = zip(reversed(self.values.shape), reversed(self.shape), strict=False)
        if any(size not in (1, whole) for size, whole in sizes):
            raise UsageError(
                f"expected values that broadcast to {list(self.shape)} for Diagonal, got {list(self.values.shape)}"
            )

    @property
    def shape_in(self) -> Shape:
        return self.shape

    @property
    def shape_out(self) -> Shape:
        return self.shape

    @property
    def batch(self) -> int | None:
        return batch_of(self.values, len(self.shape), "the values of Diagonal")

    @property
    def H(self) -> LinearOperator:
        return Diagonal(self.values.conj(), self.shape) if self.values.is_complex() else self

    @property
    def N(self) -> LinearOperator:
        return Diagonal(square(self.values), self.shape)

    def sandwich(self, middle: LinearOperator) -> LinearOperator:
        if isinstance(middle, Diagonal):
            return Diagonal(square(self.values) * middle.values, self.shape)
        return super().sandwich(middle)

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        return Diagonal(inverse(self.values, per_item(damping, len(self.shape))), self.shape)

    def apply(self, x: Tensor) -> Tensor:
        return x * self.values

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return y * self.values.conj()


def square(values: Tensor) -> Tensor:
    """|values|², real; a mask is its own."""
    if not values.is_complex():
        return values if values.dtype is torch.bool else values * values
    return values.real.square() + values.imag.square()


def inverse(values: Tensor, damping: Damping) -> Tensor:
    """conj(v) / (|v|² + damping), and 0 where v is 0 but for rounding."""
    if values.dtype is torch.bool:
        if not isinstance(damping, Tensor) and damping == 0:
            return values
        values = values.to(damping.dtype if isinstance(damping, Tensor) else torch.float64)
    return values.conj() * reciprocal(square(values), damping)


def reciprocal(squares: Tensor, damping: Damping) -> Tensor:
    """1 / (squares + damping), and 0 where a square is 0 but for rounding."""
    if isinstance(damping, Tensor):
        damping = damping.to(squares)
    kept = squares > torch.finfo(squares.dtype).eps ** 2 * squares.amax()
    return torch.where(kept, 1 / torch.where(kept, squares + damping, 1.0), 0.0)
