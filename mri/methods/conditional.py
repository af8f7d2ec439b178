"""Conditional diffusion, data consistency in every step: the net is told A.H y, the acceleration and the noise.

    x0 = D(x, sigma | condition);   x0' = consistent(x0);   x' = x0' + sigma' (carry e + fresh n)

The correction acts on x0, never on the noisy state, in training units taken from the data. arXiv:2510.06335.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fewstep.core import consistency
from fewstep.core.errors import UsageError
from fewstep.core.types import Denoise
from fewstep.mri.methods.diffusion import DDS, Diffusion
from fewstep.mri.methods.turned import turned
from fewstep.mri.models.condition import condition
from fewstep.mri.problem import Slice

CORRECTIONS = ("dds", "project", "none")


@dataclass(frozen=True)
class Conditional(DDS):
    """Sampling with a conditional net.

    Parameters
    ----------
    correction
        "dds": calibrated conjugate gradients; "project": what was measured replaces what was guessed, for noiseless
        data; "none".

    Raises
    ------
    UsageError
        If there is no such correction.
    """

    steps: int = 4
    shared: bool = False
    correction: str = "dds"

    def __post_init__(self) -> None:
        Diffusion.__post_init__(self)
        if self.correction not in CORRECTIONS:
            raise UsageError(f"expected a correction among {', '.join(CORRECTIONS)}, got {self.correction!r}")

    def denoise(self, one: Slice, seeds: list[int]) -> Denoise:
        """Told the condition, which is turned with the state."""
        cond: Tensor = condition(one)

        def told(x: Tensor, t: Tensor, planes: Tensor | None = None) -> Tensor:
            planes = cond.expand(len(x), -1, -1, -1) if planes is None else planes
            return self.prior.denoise(cond=planes)(x, t)

        return turned(told, seeds, extra=cond) if self.turn else told

    def consistent(self, denoise: Denoise, one: Slice) -> Denoise:
        """As chosen by `correction`."""
        if self.correction == "none":
            return denoise
        if self.correction == "dds":
            return DDS.consistent(self, denoise, one)
        A, y = one.problem.A, one.problem.kspace
        return consistency.project(denoise, A, y, self.prior.path, iterations=30, tolerance=1e-6)

    @property
    def draws(self) -> bool:
        """One step from noise is the mean of a posterior, no sample of it."""
        return self.steps > 1
