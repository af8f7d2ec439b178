"""What was measured, y = A x0 + noise, and the move of a guess towards it that all methods share:

    d = (A.H A + damping I)^-1 A.H (y − A x0)

in closed form where the operator has one, else by conjugate gradients from d = 0; damping 0 gives A^+ (y − A x0).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators import LinearOperator, conjugate_gradient


@dataclass(frozen=True, eq=False)
class Measurement:
    """An operator, its normal operator, and what was measured through it, [batch or 1, *A.shape_out]; see `measure`."""

    A: LinearOperator
    normal: LinearOperator
    y: Tensor

    def wide(self, x0: Tensor) -> Tensor:
        """A guess in the precision of the measurement."""
        real = self.y.dtype.to_real()
        return x0.to(real.to_complex() if x0.is_complex() else real)

    def back(self, x0: Tensor) -> Tensor:
        """A.H (y − A x0), and no more than `x0` can take.

        Raises
        ------
        UsageError
            If it is complex for a real `x0`.
        """
        answer = self.A.H.apply(self.missing(x0))
        if answer.is_complex() and not x0.is_complex():
            raise UsageError("expected a complex state: what was measured says complex numbers of it")
        return answer.to(x0.dtype)

    def missing(self, x0: Tensor) -> Tensor:
        """y − A x0."""
        return self.y - self.A(x0)

    def descent(self, x0: Tensor, damping: Tensor, *, iterations: int, tolerance: float = 0.0) -> Tensor:
        """d after some steps of conjugate gradients, in the dtype of `x0`."""
        damping = damping.clamp(max=torch.finfo(torch.float32).max ** 0.25)  # what is infinite moves nothing
        back = self.back(x0)
        return conjugate_gradient(self.normal, back, iterations=iterations, tolerance=tolerance, damping=damping).x

    def step(self, x0: Tensor, damping: Tensor, *, iterations: int, tolerance: float) -> Tensor:
        """d, in closed form if there is one, in the dtype of `x0`."""
        closed = self.A.ridge(damping.to(self.y.dtype.to_real()))
        if closed is None:
            return self.descent(x0, damping, iterations=iterations, tolerance=tolerance)
        answer = closed.apply(self.missing(x0))
        if answer.is_complex() and not x0.is_complex():
            raise UsageError("expected a complex state: what was measured says complex numbers of it")
        return answer.to(x0.dtype)


def measure(A: LinearOperator, measured: Tensor) -> Measurement:
    """An operator and what was measured through it.

    Parameters
    ----------
    A
        [batch, *shape of the state's items] -> [batch, *A.shape_out].
    measured
        [batch, *A.shape_out], or [1, *A.shape_out] for all items.

    Returns
    -------
    Measurement

    Raises
    ------
    UsageError
        If `measured` is not of this shape, not floating point or not finite.
    """
    expected = ", ".join(map(str, A.shape_out))
    if not isinstance(measured, Tensor) or measured.ndim != len(A.shape_out) + 1 or measured.shape[1:] != A.shape_out:
        got = list(measured.shape) if isinstance(measured, Tensor) else type(measured).__name__
        raise UsageError(f"expected measured [batch, {expected}] as A says, got {got}")
    if not (measured.is_floating_point() or measured.is_complex()):
        raise UsageError(f"expected measured in floating point, got {measured.dtype}")
    if not bool(torch.isfinite(measured).all()):
        raise UsageError("expected a finite measured, got NaN or infinity: leave such elements out by a mask in A")
    return Measurement(A, A.N, measured)
