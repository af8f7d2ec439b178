"""Conjugate gradients for (A + damping I) x = b, A self-adjoint and not negative, each item of a batch on its own.

Hestenes & Stiefel 1952, doi:10.6028/jres.049.044, section 3; inner products are sum conj(u) v, of which the real part
is all there is: for complex items it is that of their real and imaginary parts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators.base import Damping, LinearOperator, check


@dataclass(frozen=True)
class Solution:
    """What conjugate gradients found.

    Parameters
    ----------
    x
        [batch, ...].
    residuals
        Norms of b − (A + damping) x as the recurrence has them, before the first step and after each,
        [steps + 1, batch].
    """

    x: Tensor
    residuals: Tensor


def conjugate_gradient(
    A: LinearOperator,
    b: Tensor,
    x0: Tensor | None = None,
    *,
    iterations: int,
    tolerance: float = 0.0,
    damping: Damping = 0.0,
) -> Solution:
    """Solve (A + damping I) x = b.

    Parameters
    ----------
    A
        Self-adjoint and positive semi-definite, such as ``B.N``.
    b
        Right side, [batch, *A.shape_in].
    x0
        Where to start, shaped like `b`; None is 0. It is not changed.
    iterations
        At most so many steps, >= 0; each applies `A` once to the whole batch.
    tolerance
        An item stops where its residual is below `tolerance` times the norm of its `b`; 0: only where rounding or a
        direction that `A` does not see leaves nothing to do. A positive tolerance ends the loop when all items have
        stopped, for which it waits for the device.
    damping
        A number >= 0, or one per item, [batch].

    Returns
    -------
    Solution

    Raises
    ------
    UsageError
        If `A` is not square or makes a real `b` complex, `b` or `x0` is not of its shape, or an option is negative.
    """
    _check(A, b, x0, iterations, tolerance, damping)
    kept = torch.is_grad_enabled()
    shift = damping.to(b.dtype.to_real()).reshape(-1, 1) if isinstance(damping, Tensor) else damping
    x = torch.zeros_like(b) if x0 is None else x0.to(b.dtype, copy=True)
    x, flat = x.contiguous(), _real(b)
    residual = flat.clone() if x0 is None else flat - _shifted(A, x, shift)
    direction, solution = residual.clone(), _real(x)
    square = _dot(residual, residual)
    enough = max(tolerance, torch.finfo(b.dtype).eps) ** 2 * _dot(flat, flat)
    active, norms, steepest = square > enough, [square.sqrt()], torch.zeros_like(square)
    for _ in range(iterations):
        if tolerance > 0 and not bool(active.any()):
            break
        image = _shifted(A, _like(direction, b), shift)
        curvature = _dot(direction, image)
        steepest, seen = _seen(steepest, curvature, _dot(direction, direction))
        active = active & seen
        step = torch.where(active, square / torch.where(active, curvature, 1.0), 0.0)
        solution = _add(solution, step, direction, kept)
        residual = _add(residual, -step, image, kept)
        before, square = square, torch.where(active, _dot(residual, residual), square)
        norms.append(square.sqrt())
        active = active & (square > enough)
        turn = torch.where(active, square / torch.where(active, before, 1.0), 0.0)
        direction = torch.addcmul(residual, turn, direction) if kept else direction.mul_(turn).add_(residual)
    return Solution(_like(solution, b), torch.cat(norms, dim=1).T)


def _shifted(A: LinearOperator, x: Tensor, shift: Damping) -> Tensor:
    answer = A.apply(x)
    if answer.is_complex() and not x.is_complex():
        raise UsageError("expected b to be complex: A answers complex numbers")
    image = _real(answer.to(x.dtype))
    if isinstance(shift, Tensor):
        return torch.addcmul(image, shift, _real(x))
    return torch.add(image, _real(x), alpha=shift) if shift else image


def _seen(steepest: Tensor, curvature: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The largest Rayleigh quotient so far, and whether that of a direction is more than rounding beside it."""
    quotient = torch.where(length > 0, curvature / length, 0.0)
    steepest = torch.maximum(steepest, quotient)
    return steepest, quotient > 10 * torch.finfo(quotient.dtype).eps * steepest


def _add(x: Tensor, factor: Tensor, y: Tensor, kept: bool) -> Tensor:
    return torch.addcmul(x, factor, y) if kept else x.addcmul_(factor, y)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return torch.linalg.vecdot(u, v).unsqueeze(1)


def _real(x: Tensor) -> Tensor:
    """Each item as one row of real numbers."""
    return (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x).reshape(len(x), -1)


def _like(rows: Tensor, b: Tensor) -> Tensor:
    return torch.view_as_complex(rows.view(*b.shape, 2)) if b.is_complex() else rows.view(b.shape)


def _check(
    A: LinearOperator, b: Tensor, x0: Tensor | None, iterations: int, tolerance: float, damping: Damping
) -> None:
    if A.shape_in != A.shape_out:
        raise UsageError(f"expected a square operator, such as A.N, got {list(A.shape_in)} to {list(A.shape_out)}")
    check(b, A.shape_in, A.batch, "the right side of conjugate_gradient")
    if x0 is not None and x0.shape != b.shape:
        raise UsageError(f"expected x0 shaped like b, {list(b.shape)}, got {list(x0.shape)}")
    if iterations < 0 or tolerance < 0 or (not isinstance(damping, Tensor) and damping < 0):
        raise UsageError(
            f"expected iterations, tolerance and damping >= 0, got {iterations}, {tolerance} and {damping}"
        )
    if isinstance(damping, Tensor) and damping.numel() not in (1, len(b)):
        raise UsageError(f"expected one damping or one per item, {len(b)}, got {damping.numel()}")
