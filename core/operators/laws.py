"""What must hold for every linear operator, as numbers that are 0 but for rounding: for tests of your own operators.

Each is the largest error over a batch of random probes, not their mean, in which errors may cancel.
"""

import torch
from torch import Tensor

from fewstep.core.operators.base import LinearOperator


def adjoint_error(A: LinearOperator, *, probes: int = 4, dtype: torch.dtype = torch.complex128, seed: int = 0) -> float:
    """Largest |<A x, y> − <x, A.H y>| / (|A x| |y|).

    Parameters
    ----------
    A
        Any operator.
    probes
        Random pairs x, y; an operator that differs from item to item gets one per item.
    dtype
        Of the probes.
    seed
        Of their stream.

    Returns
    -------
    float
    """
    x = probe(A, A.shape_in, probes, dtype, seed)
    y = probe(A, A.shape_out, probes, dtype, seed + 1)
    image = A(x)
    error = _dot(image, y) - _dot(x, A.H(y))
    return float((error.abs() / (_norm(image) * _norm(y)).clamp(min=1e-300)).max())


def linearity_error(
    A: LinearOperator, *, probes: int = 4, dtype: torch.dtype = torch.complex128, seed: int = 0
) -> float:
    """Largest |A(c x + y) − c A x − A y| of an element over the largest |A y|, with a complex c if the probes are.

    Parameters
    ----------
    A, probes, dtype, seed
        As for `adjoint_error`.

    Returns
    -------
    float
    """
    x, y = (probe(A, A.shape_in, probes, dtype, seed + i) for i in range(2))
    c = 0.7 - 1.3j if dtype.is_complex else -1.3
    return _largest(A(c * x + y), c * A(x) + A(y))


def normal_error(A: LinearOperator, *, probes: int = 4, dtype: torch.dtype = torch.complex128, seed: int = 0) -> float:
    """Largest |A.N x − A.H(A x)| of an element over the largest of A.H(A x).

    Parameters
    ----------
    A, probes, dtype, seed
        As for `adjoint_error`.

    Returns
    -------
    float
    """
    x = probe(A, A.shape_in, probes, dtype, seed)
    return _largest(A.N(x), A.H(A(x)))


def probe(A: LinearOperator, shape: tuple[int, ...], probes: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Standard normal items for an operator, [its batch or `probes`, *shape], on the CPU."""
    items = probes if A.batch is None else A.batch
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((items, *shape), dtype=dtype, generator=generator)


def _largest(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-300))


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u.conj() * v).flatten(1).sum(1)


def _norm(u: Tensor) -> Tensor:
    return torch.linalg.vector_norm(u.flatten(1), dim=1)
