"""Operators made of operators: adjoints, products, multiples, sums and stacks.

(A B).H = B.H A.H     (A B).N = B.H (A.N) B     (c A).H = conj(c) A.H     [A; B].N = A.N + B.N
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape
from fewstep.core.operators.composition import batch_of_all, product_of
from fewstep.core.operators.pointwise import Identity


@dataclass(frozen=True, eq=False)
class Adjoint(LinearOperator):
    """A.H."""

    of: LinearOperator

    @property
    def shape_in(self) -> Shape:
        return self.of.shape_out

    @property
    def shape_out(self) -> Shape:
        return self.of.shape_in

    @property
    def batch(self) -> int | None:
        return self.of.batch

    @property
    def isometry(self) -> float | None:
        return self.of.coisometry

    @property
    def coisometry(self) -> float | None:
        return self.of.isometry

    @property
    def H(self) -> LinearOperator:
        return self.of

    @property
    def N(self) -> LinearOperator:
        return self.of @ self if self.isometry is None else Identity(self.shape_in) * self.isometry

    def apply(self, x: Tensor) -> Tensor:
        return self.of.apply_adjoint(x)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self.of.apply(y)


@dataclass(frozen=True, eq=False)
class Scaled(LinearOperator):
    """factor A."""

    of: LinearOperator
    factor: complex

    @property
    def shape_in(self) -> Shape:
        return self.of.shape_in

    @property
    def shape_out(self) -> Shape:
        return self.of.shape_out

    @property
    def batch(self) -> int | None:
        return self.of.batch

    @property
    def isometry(self) -> float | None:
        return product_of([self.of.isometry, abs(self.factor) ** 2])

    @property
    def coisometry(self) -> float | None:
        return product_of([self.of.coisometry, abs(self.factor) ** 2])

    @property
    def H(self) -> LinearOperator:
        return self.of.H * self.factor.conjugate()

    @property
    def N(self) -> LinearOperator:
        return self.of.N * abs(self.factor) ** 2

    def ridge(self, damping: Damping = 0.0) -> LinearOperator | None:
        if self.factor == 0:
            return self.H
        inner = self.of.ridge(damping / abs(self.factor) ** 2)
        return None if inner is None else inner * (1 / self.factor)

    def apply(self, x: Tensor) -> Tensor:
        return self.of.apply(x) * self.factor

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self.of.apply_adjoint(y) * self.factor.conjugate()


@dataclass(frozen=True, eq=False)
class Sum(LinearOperator):
    """parts[0] + parts[1] + ...

    Raises
    ------
    UsageError
        If there is no part, or they differ in shape or batch.
    """

    parts: tuple[LinearOperator, ...]

    def __post_init__(self) -> None:
        _alike(self.parts, "sum")

    @property
    def shape_in(self) -> Shape:
        return self.parts[0].shape_in

    @property
    def shape_out(self) -> Shape:
        return self.parts[0].shape_out

    @property
    def batch(self) -> int | None:
        return batch_of_all(self.parts)

    @property
    def H(self) -> LinearOperator:
        return Sum(tuple(part.H for part in self.parts))

    def apply(self, x: Tensor) -> Tensor:
        return reduce(torch.add, (part.apply(x) for part in self.parts))

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return reduce(torch.add, (part.apply_adjoint(y) for part in self.parts))


@dataclass(frozen=True, eq=False)
class Stack(LinearOperator):
    """All parts of one item, on a new first axis: [part, *shape_out].

    Raises
    ------
    UsageError
        If there is no part, or they differ in shape or batch.
    """

    parts: tuple[LinearOperator, ...]

    def __post_init__(self) -> None:
        _alike(self.parts, "stack")

    @property
    def shape_in(self) -> Shape:
        return self.parts[0].shape_in

    @property
    def shape_out(self) -> Shape:
        return (len(self.parts), *self.parts[0].shape_out)

    @property
    def batch(self) -> int | None:
        return batch_of_all(self.parts)

    @property
    def N(self) -> LinearOperator:
        return Sum(tuple(part.N for part in self.parts))

    def apply(self, x: Tensor) -> Tensor:
        return torch.stack([part.apply(x) for part in self.parts], dim=1)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return reduce(torch.add, (part.apply_adjoint(y[:, i]) for i, part in enumerate(self.parts)))


def _alike(parts: Sequence[LinearOperator], what: str) -> None:
    shapes = {(part.shape_in, part.shape_out) for part in parts}
    if len(shapes) != 1:
        raise UsageError(f"expected operators of one shape to {what}, got {sorted(shapes) or 'none'}")
    batch_of_all(parts)
