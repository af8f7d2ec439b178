"""Downsampling by averaging blocks; A A.H = I / (elements of a block)."""

from dataclasses import dataclass
from math import prod

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape


@dataclass(frozen=True, eq=False)
class Downsample(LinearOperator):
    """The mean of each block of the last axes.

    Parameters
    ----------
    shape
        Of an item.
    block
        Size of a block along each of the last axes.

    Raises
    ------
    UsageError
        If the blocks do not tile an item.
    """

    shape: Shape
    block: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "block", tuple(self.block))
        sizes = self.shape[-len(self.block) :]
        if not 0 < len(self.block) <= len(self.shape) or any(
            b < 1 or n % b for n, b in zip(sizes, self.block, strict=True)
        ):
            raise UsageError(f"expected blocks that tile items of {list(self.shape)}, got {list(self.block)}")

    @property
    def shape_in(self) -> Shape:
        return self.shape

    @property
    def shape_out(self) -> Shape:
        rank = len(self.block)
        coarse = [n // b for n, b in zip(self.shape[-rank:], self.block, strict=True)]
        return (*self.shape[:-rank], *coarse)

    @property
    def coisometry(self) -> float:
        return 1 / prod(self.block)

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        from fewstep.core.operators.pointwise import Identity

        c = self.coisometry
        return self.H @ Identity(self.shape_out).ridge(damping / c) * (1 / c)

    def apply(self, x: Tensor) -> Tensor:
        parts, rank = self._parts(x), len(self.block)
        return parts.mean(tuple(range(-2 * rank + 1, 0, 2)))

    def apply_adjoint(self, y: Tensor) -> Tensor:
        for axis, size in zip(range(-len(self.block), 0), self.block, strict=True):
            y = y.repeat_interleave(size, dim=axis)
        return y / prod(self.block)

    def _parts(self, x: Tensor) -> Tensor:
        rank = len(self.block)
        pairs = zip(x.shape[-rank:], self.block, strict=True)
        return x.reshape(*x.shape[:-rank], *[size for n, b in pairs for size in (n // b, b)])
