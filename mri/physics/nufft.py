"""Non-Cartesian sampling through torchkbnufft (extra `nufft`): k_m = n^(-1/2) sum_r x(r) exp(−i w_m r), w in [−pi, pi].

Fessler & Sutton 2003, doi:10.1109/TSP.2002.807005; golden-angle spokes: Winkelmann et al. 2007,
doi:10.1109/TMI.2006.885337.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators import Coils, LinearOperator, compose
from fewstep.core.operators.base import Shape
from fewstep.mri.physics.masks_2d import GOLDEN


@dataclass(frozen=True, eq=False)
class NonUniform(LinearOperator):
    """Coil images [coil, y, x] to samples [coil, sample] along a trajectory, the same for every item.

    Parameters
    ----------
    trajectory
        Real [2, sample], radians per pixel along (y, x), in [−pi, pi].
    shape
        (coil, y, x) of an item.

    Raises
    ------
    UsageError
        If the trajectory is not of this shape or range, or, when it is applied, the extra is not installed.
    """

    trajectory: Tensor
    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.trajectory.ndim != 2 or len(self.trajectory) != 2 or len(self.shape) != 3:
            raise UsageError(
                f"expected a trajectory [2, sample] for items [coil, y, x], got {list(self.trajectory.shape)} "
                f"for {list(self.shape)}"
            )
        if float(self.trajectory.abs().max()) > math.pi * (1 + 1e-6):
            raise UsageError("expected a trajectory in radians per pixel, within [-pi, pi]")

    @property
    def shape_in(self) -> Shape:
        return self.shape

    @property
    def shape_out(self) -> Shape:
        return (self.shape[0], self.trajectory.shape[1])

    def apply(self, x: Tensor) -> Tensor:
        return self._run(0, x)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self._run(1, y)

    def _run(self, direction: int, x: Tensor) -> Tensor:
        transform = _transforms(self.shape[1:], x.dtype)[direction].to(x.device)
        omega = self.trajectory.to(x.device, x.dtype.to_real())
        return transform(x.contiguous(), omega) / math.sqrt(self.shape[1] * self.shape[2])


def radial_trajectory(spokes: int, samples: int, *, first: float = 0.0) -> Tensor:
    """Golden-angle spokes through the centre.

    Parameters
    ----------
    spokes, samples
        How many, and samples on each.
    first
        Angle of the first, radians.

    Returns
    -------
    Tensor
        float32 [2, spokes · samples], radians per pixel along (y, x).

    Raises
    ------
    UsageError
        If there is no spoke or no sample.
    """
    if spokes < 1 or samples < 1:
        raise UsageError(f"expected at least one spoke and one sample, got {spokes} and {samples}")
    angles = first + GOLDEN * torch.arange(spokes, dtype=torch.float64)
    reach = 2 * math.pi * (torch.arange(samples, dtype=torch.float64) - samples // 2) / samples
    direction = torch.stack((angles.sin(), angles.cos()))
    return (direction[:, :, None] * reach).flatten(1).float()


def radial_sense(coil_maps: Tensor, trajectory: Tensor) -> LinearOperator:
    """Images to samples of all coils along a trajectory.

    Parameters
    ----------
    coil_maps
        complex [batch, coil, y, x] or [coil, y, x].
    trajectory
        As for `NonUniform`.

    Returns
    -------
    LinearOperator
        [batch, y, x] -> [batch, coil, sample].
    """
    shape = tuple(coil_maps.shape[-3:])
    return compose((NonUniform(trajectory, shape), Coils(coil_maps, shape[1:])))


@lru_cache(8)
def _transforms(shape: Shape, dtype: torch.dtype) -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import torchkbnufft
    except ImportError as error:
        raise UsageError("non-Cartesian sampling needs torchkbnufft: pip install 'fewstep[nufft]'") from error
    return (
        torchkbnufft.KbNufft(im_size=shape, dtype=dtype),
        torchkbnufft.KbNufftAdjoint(im_size=shape, dtype=dtype),
    )
