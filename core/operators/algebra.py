"""Operators made of operators: adjoints, products, multiples, sums and stacks.

(A B).H = B.H A.H     (A B).N = B.H (A.N) B     (c A).H = conj(c) A.H     [A; B].N = A.N + B.N
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape
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
class Composition(LinearOperator):
    """parts[0] @ parts[1] @ ...: the last is applied first; made by `compose`."""

    parts: tuple[LinearOperator, ...]

    @property
    def shape_in(self) -> Shape:
        return self.parts[-1].shape_in

    @property
    def shape_out(self) -> Shape:
        return self.parts[0].shape_out

    @property
    def batch(self) -> int | None:
        return _batch(self.parts)

    @property
    def isometry(self) -> float | None:
        return _product([part.isometry for part in self.parts])

    @property
    def coisometry(self) -> float | None:
        return _product([part.coisometry for part in self.parts])

    @property
    def H(self) -> LinearOperator:
        return Composition(tuple(part.H for part in reversed(self.parts)))

    @property
    def N(self) -> LinearOperator:
        return reduce(lambda middle, part: part.sandwich(middle), self.parts[1:], self.parts[0].N)

    def ridge(self, damping: Damping = 0.0) -> LinearOperator | None:
        """Closed if what is left after isometries on the left and coisometries on the right has a closed form."""
        first, last = self.parts[0], self.parts[-1]
        if (c := first.isometry) is not None:
            inner = compose(self.parts[1:]).ridge(damping / c)
            return None if inner is None else inner @ first.H * (1 / c)
        if (c := last.coisometry) is not None:
            inner = compose(self.parts[:-1]).ridge(damping / c)
            return None if inner is None else last.H @ inner * (1 / c)
        return None

    def apply(self, x: Tensor) -> Tensor:
        return reduce(lambda value, part: part.apply(value), reversed(self.parts), x)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return reduce(lambda value, part: part.apply_adjoint(value), self.parts, y)


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
        return _product([self.of.isometry, abs(self.factor) ** 2])

    @property
    def coisometry(self) -> float | None:
        return _product([self.of.coisometry, abs(self.factor) ** 2])

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
        return _batch(self.parts)

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
        return _batch(self.parts)

    @property
    def N(self) -> LinearOperator:
        return Sum(tuple(part.N for part in self.parts))

    def apply(self, x: Tensor) -> Tensor:
        return torch.stack([part.apply(x) for part in self.parts], dim=1)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return reduce(torch.add, (part.apply_adjoint(y[:, i]) for i, part in enumerate(self.parts)))


def compose(parts: Sequence[LinearOperator]) -> LinearOperator:
    """The product of operators, the last applied first; identities are left out.

    Parameters
    ----------
    parts
        At least one.

    Returns
    -------
    LinearOperator

    Raises
    ------
    UsageError
        If neighbours do not fit, or they are for batches of different sizes.
    """
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Composition) else (part,))]
    for left, right in pairwise(flat):
        if left.shape_in != right.shape_out:
            raise UsageError(
                f"expected A @ B with A.shape_in = B.shape_out, got {type(left).__name__} of {list(left.shape_in)} "
                f"after {type(right).__name__} to {list(right.shape_out)}"
            )
    _batch(flat)
    kept = [part for part in flat if not isinstance(part, Identity)]
    return Composition(tuple(kept)) if len(kept) > 1 else kept[0] if kept else flat[0]


def _alike(parts: Sequence[LinearOperator], what: str) -> None:
    shapes = {(part.shape_in, part.shape_out) for part in parts}
    if len(shapes) != 1:
        raise UsageError(f"expected operators of one shape to {what}, got {sorted(shapes) or 'none'}")
    _batch(parts)


def _batch(parts: Sequence[LinearOperator]) -> int | None:
    batches = {part.batch for part in parts} - {None}
    if len(batches) > 1:
        raise UsageError(f"expected operators for one size of batch, got {sorted(b for b in batches if b)}")
    return batches.pop() if batches else None


def _product(factors: Sequence[float | None]) -> float | None:
    known = [factor for factor in factors if factor is not None]
    return reduce(lambda a, b: a * b, known, 1.0) if len(known) == len(factors) else None
