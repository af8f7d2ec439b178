"""Methods without a net: zero-filled and CG-SENSE.

zero-filled  A^H y        CG-SENSE  argmin |A x − y|² + weight |x|²   (Pruessmann et al. 2001, doi:10.1002/mrm.1241)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fewstep.mri.methods.base import Method
from fewstep.mri.problem import Slice, cg_sense


@dataclass(frozen=True)
class ZeroFilled(Method):
    """The adjoint of the measurement: what was not acquired is 0."""

    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """[1, y, x]."""
        return one.problem.A.H(one.problem.kspace), 0


@dataclass(frozen=True)
class CgSense(Method):
    """Least squares with a ridge.

    Parameters
    ----------
    weight
        Of the ridge, relative to the operator's norm.
    iterations
        Of conjugate gradients.
    """

    weight: float = 1e-2
    iterations: int = 15

    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """[1, y, x]."""
        return cg_sense(one.problem, weight=self.weight, iterations=self.iterations), 0
