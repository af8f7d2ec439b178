"""Products of operators: (A B).H = B.H A.H, (A B).N = B.H (A.N) B, which each operator may fuse."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape
from fewstep.core.operators.pointwise import Identity


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
        return batch_of_all(self.parts)

    @property
    def isometry(self) -> float | None:
        return product_of([part.isometry for part in self.parts])

    @property
    def coisometry(self) -> float | None:
        return product_of([part.coisometry for part in self.parts])

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
    batch_of_all(flat)
    kept = [part for part in flat if not isinstance(part, Identity)]
    return Composition(tuple(kept)) if len(kept) > 1 else kept[0] if kept else flat[0]


def batch_of_all(parts: Sequence[LinearOperator]) -> int | None:
    """The size of batch that the parts are for, None if for any.

    Raises
    ------
    UsageError
        If they are for batches of different sizes.
    """
    batches = {part.batch for part in parts} - {None}
    if len(batches) > 1:
        raise UsageError(f"expected operators for one size of batch, got {sorted(b for b in batches if b)}")
    return batches.pop() if batches else None


def product_of(factors: Sequence[float | None]) -> float | None:
    """The product, None if a factor is."""
    known = [factor for factor in factors if factor is not None]
    return reduce(lambda a, b: a * b, known, 1.0) if len(known) == len(factors) else None
