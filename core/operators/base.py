"""What every linear operator is: y = A x for each item of a batch, its adjoint A.H, its normal operator A.N = A.H A.

The inner product is <u, v> = sum conj(u) v over the axes of an item, so that <A x, y> = <x, A.H y>.
"""

import dataclasses
from abc import ABC, abstractmethod
from numbers import Number
from typing import TypeVar

import torch
from torch import Tensor

from fewstep.core.errors import UsageError

Shape = tuple[int, ...]
Damping = float | Tensor
"""A number >= 0, a tensor with one, or one per item of a batch, [batch]."""

Self = TypeVar("Self", bound="LinearOperator")


@dataclasses.dataclass(frozen=True, eq=False)
class LinearOperator(ABC):
    """A linear map of items shaped `shape_in` to items shaped `shape_out`; immutable, and called with batches of items.

    A subclass is a frozen dataclass; it says its shapes, `apply` and `apply_adjoint`, and what else it knows to do
    cheaper than by composition.
    """

    @property
    @abstractmethod
    def shape_in(self) -> Shape:
        """Shape of an item that goes in, without the batch."""

    @property
    @abstractmethod
    def shape_out(self) -> Shape:
        """Shape of an item that comes out, without the batch."""

    @property
    def batch(self) -> int | None:
        """Number of items if the operator differs from item to item, else None."""
        return None

    @property
    def isometry(self) -> float | None:
        """The number c if A.H A = c I is known, else None."""
        return None

    @property
    def coisometry(self) -> float | None:
        """The number c if A A.H = c I is known, else None."""
        return None

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """A x, without looking at shapes; x [batch, *shape_in] is not changed, but may be returned."""

    @abstractmethod
    def apply_adjoint(self, y: Tensor) -> Tensor:
        """A.H y, without looking at shapes; y [batch, *shape_out]."""

    def __call__(self, x: Tensor) -> Tensor:
        """A x.

        Parameters
        ----------
        x
            [batch, *shape_in], real or complex; precisions mix as torch mixes them.

        Returns
        -------
        Tensor
            [batch, *shape_out].

        Raises
        ------
        UsageError
            If `x` is no batch of items of this shape.
        """
        check(x, self.shape_in, self.batch, type(self).__name__)
        return self.apply(x)

    @property
    def H(self) -> "LinearOperator":
        """The adjoint."""
        from fewstep.core.operators.algebra import Adjoint

        return Adjoint(self)

    @property
    def N(self) -> "LinearOperator":
        """The normal operator A.H A, fused where that is cheaper; made anew at each access, so keep it for a loop."""
        return self.H @ self

    def sandwich(self, middle: "LinearOperator") -> "LinearOperator":
        """A.H `middle` A, fused where that is cheaper."""
        from fewstep.core.operators.pointwise import Identity

        return self.N if isinstance(middle, Identity) else self.H @ middle @ self

    def ridge(self, damping: Damping = 0.0) -> "LinearOperator | None":
        """(A.H A + damping I)^-1 A.H in closed form, or None if there is none.

        Parameters
        ----------
        damping
            A number >= 0, or one per item, [batch]; 0 gives the pseudo-inverse.

        Returns
        -------
        LinearOperator or None
        """
        return None

    def to(self: Self, like: Tensor) -> Self:
        """The same operator on the device and in the precision of a tensor; what is real stays real."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: _moved(value, like) for name, value in fields.items()})

    def __matmul__(self, other: "LinearOperator") -> "LinearOperator":
        from fewstep.core.operators.composition import compose

        return compose((self, other)) if isinstance(other, LinearOperator) else NotImplemented

    def __mul__(self, factor: complex) -> "LinearOperator":
        from fewstep.core.operators.algebra import Scaled

        if not isinstance(factor, Number):
            return NotImplemented
        return self if factor == 1 else Scaled(self, factor)

    def __add__(self, other: "LinearOperator") -> "LinearOperator":
        from fewstep.core.operators.algebra import Sum

        return Sum((self, other)) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: "LinearOperator") -> "LinearOperator":
        return self + -other if isinstance(other, LinearOperator) else NotImplemented

    def __neg__(self) -> "LinearOperator":
        return self * -1

    __rmul__ = __mul__


def check(x: Tensor, shape: Shape, batch: int | None, who: str) -> None:
    """Refuse what is no batch of items of a shape.

    Raises
    ------
    UsageError
        If it is no tensor, or of another rank, shape or batch.
    """
    if not isinstance(x, Tensor):
        raise UsageError(f"expected a tensor for {who}, got {type(x).__name__}")
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape:
        raise UsageError(f"expected [batch, {', '.join(map(str, shape))}] for {who}, got {list(x.shape)}")
    if batch is not None and len(x) != batch:
        raise UsageError(f"expected a batch of {batch} for {who}, which differs from item to item, got {len(x)}")


def batch_of(values: Tensor, rank: int, who: str) -> int | None:
    """How many items `values` hold: None if there is no axis before the last `rank`.

    Raises
    ------
    UsageError
        If there is more than one axis before.
    """
    if values.ndim > rank + 1:
        raise UsageError(f"expected at most {rank + 1} axes for {who}, got {list(values.shape)}")
    return len(values) if values.ndim == rank + 1 and len(values) != 1 else None


def per_item(damping: Damping, rank: int) -> Damping:
    """A damping made to broadcast against [batch, ...] with `rank` axes per item."""
    return damping.reshape(-1, *[1] * rank) if isinstance(damping, Tensor) and damping.ndim else damping


def _moved(value: object, like: Tensor) -> object:
    if isinstance(value, tuple):
        return tuple(_moved(part, like) for part in value)
    if isinstance(value, LinearOperator):
        return value.to(like)
    if not isinstance(value, Tensor):
        return value
    real = like.dtype.to_real()
    kind = real.to_complex() if value.is_complex() else real if value.is_floating_point() else value.dtype
    return value.to(like.device, kind)


def times(x: Tensor, factor: Tensor) -> Tensor:
    """``x * factor``, written over `x` if that holds it; for an `x` that nobody else has."""
    return x.mul_(factor) if torch.result_type(x, factor) is x.dtype else x * factor
