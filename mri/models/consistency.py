"""A layer that pulls an image towards what was measured, with a learned strength; and complex images as real channels.

x + w A.H (y − A x),   w = softplus(raw), 1 at first: for one coil on a Cartesian grid a full projection
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fewstep.mri.problem import Problem


class DataConsistency(nn.Module):
    """Some steps of gradient descent on |A x − y|²/2 with one learned length.

    Parameters
    ----------
    steps
        How many.
    """

    def __init__(self, *, steps: int = 1):
        super().__init__()
        self.steps = steps
        self.raw = nn.Parameter(torch.tensor(math.log(math.e - 1)))

    def forward(self, x: Tensor, problem: Problem, back: Tensor) -> Tensor:
        """Image [batch, y, x] and ``back`` = A.H y -> image."""
        length = nn.functional.softplus(self.raw)
        for _ in range(self.steps):
            x = x + length * (back - problem.A.N.apply(x))
        return x


def real(x: Tensor) -> Tensor:
    """Complex [batch, c, y, x] or [batch, y, x] -> float [batch, 2 c, y, x], real and imaginary parts in turn."""
    x = x.unsqueeze(1) if x.ndim == 3 else x
    return torch.view_as_real(x).movedim(-1, 2).flatten(1, 2)


def cplx(x: Tensor) -> Tensor:
    """The inverse of `real`: float [batch, 2 c, y, x] -> complex [batch, c, y, x]."""
    return torch.view_as_complex(x.unflatten(1, (-1, 2)).movedim(2, -1).contiguous())
