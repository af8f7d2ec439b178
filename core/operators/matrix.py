"""A matrix as an operator on vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, Shape, batch_of, per_item


@dataclass(frozen=True, eq=False)
class Matrix(LinearOperator):
    """A x = values x.

    Parameters
    ----------
    values
        [m, n], or [batch, m, n]; items are [n] and become [m].

    Raises
    ------
    UsageError
        If it is no matrix and no batch of them.
    """

    values: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim not in (2, 3):
            raise UsageError(f"expected a matrix [m, n] or [batch, m, n], got {list(self.values.shape)}")

    @property
    def shape_in(self) -> Shape:
        return (self.values.shape[-1],)

    @property
    def shape_out(self) -> Shape:
        return (self.values.shape[-2],)

    @property
    def batch(self) -> int | None:
        return batch_of(self.values, 2, "the values of Matrix")

    @property
    def H(self) -> LinearOperator:
        return Matrix(self.values.mH)

    @property
    def N(self) -> LinearOperator:
        return Matrix(self.values.mH @ self.values)

    def ridge(self, damping: Damping = 0.0) -> LinearOperator:
        """From the singular values, of which those that are 0 but for rounding are left out."""
        u, s, vh = torch.linalg.svd(self.values, full_matrices=False)
        if isinstance(damping, Tensor):
            damping = per_item(damping.to(s), 1)
        kept = s > max(self.values.shape[-2:]) * torch.finfo(s.dtype).eps * s.amax(-1, keepdim=True)
        factors = torch.where(kept, s / torch.where(kept, s * s + damping, 1.0), 0.0)
        return Matrix((vh.mH * factors.unsqueeze(-2)) @ u.mH)

    def apply(self, x: Tensor) -> Tensor:
        return _product(self.values, x)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return _product(self.values.mH, y)


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    dtype = torch.promote_types(matrix.dtype, x.dtype)
    return (matrix.to(dtype) @ x.to(dtype).unsqueeze(-1)).squeeze(-1)
