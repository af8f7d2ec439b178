"""What is to be reconstructed: y = A x + noise with A = mask · F · S, a batch of slices of equal size.

A method sees one slice at a time, divided by a complex number that was taken from the slice's own data, so that k-space
times c e^{i phi} gives the image times c e^{i phi}, and the prior always sees the size and the phase that it was
trained for. No reference is ever looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators import LinearOperator, conjugate_gradient
from fewstep.mri.physics.sense import sense

TYPICAL = 0.92
"""The 99.5th percentile of the magnitude of a slice as the priors know it."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One batch of slices.

    Parameters
    ----------
    kspace
        complex64 [batch, coil, y, x], centred, zeros where not acquired.
    mask
        bool, broadcasts to [batch, y, x] or [y, x].
    coil_maps
        complex64 [batch, coil, y, x], unit norm over coils in the support.
    noise_std
        sqrt(E|n|²) of the complex noise per k-space sample, in the unit of `kspace`; >= 0.

    Raises
    ------
    UsageError
        If shapes do not fit, something is not finite, or there is no signal.
    """

    kspace: Tensor
    mask: Tensor
    coil_maps: Tensor
    noise_std: float

    def __post_init__(self) -> None:
        if self.kspace.ndim != 4 or not self.kspace.is_complex():
            raise UsageError(
                f"expected complex k-space [batch, coil, y, x], got {self.kspace.dtype} {list(self.kspace.shape)}"
            )
        if self.coil_maps.shape != self.kspace.shape:
            raise UsageError(
                f"expected coil maps shaped like k-space, {list(self.kspace.shape)}, got {list(self.coil_maps.shape)}"
            )
        if not self.noise_std >= 0:
            raise UsageError(f"expected noise_std >= 0, got {self.noise_std}")
        if not bool(torch.isfinite(torch.view_as_real(self.kspace)).all()):
            raise UsageError("expected finite k-space, got NaN or infinity: leave such samples out by the mask")
        if not bool((self.kspace != 0).flatten(1).any(1).all()):
            raise UsageError("expected signal in every slice, got a slice whose k-space is all zero")

    def __len__(self) -> int:
        return len(self.kspace)

    @cached_property
    def A(self) -> LinearOperator:
        """mask · F · S, [batch, y, x] -> [batch, coil, y, x]."""
        return sense(self.coil_maps, self.mask)

    @property
    def acceleration(self) -> float:
        """Samples of the whole grid per sample acquired."""
        return self.mask.numel() / max(1, int(self.mask.sum()))

    def item(self, i: int) -> Problem:
        """Slice `i`, as a batch of one."""
        mask = self.mask[i : i + 1] if self.mask.ndim == 3 and len(self.mask) > 1 else self.mask
        return replace(self, kspace=self.kspace[i : i + 1], mask=mask, coil_maps=self.coil_maps[i : i + 1])

    def residual(self, image: Tensor) -> Tensor:
        """|A x − y| / |y| of each slice, [batch]; image [batch, y, x]."""
        missing = (self.kspace - self.A(image)).flatten(1)
        return torch.linalg.vector_norm(missing, dim=1) / torch.linalg.vector_norm(self.kspace.flatten(1), dim=1)


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice in the unit of the priors.

    Parameters
    ----------
    problem
        Of one slice: k-space and noise divided by `scale`.
    scale
        Complex number that results are multiplied by.
    sense
        Its image by CG-SENSE, complex64 [1, y, x]: the start and the comparison.
    """

    problem: Problem
    scale: complex
    sense: Tensor


def normalised(problem: Problem, *, weight: float = 1e-2, iterations: int = 15) -> Slice:
    """Divide one slice by a complex number of its own.

    Parameters
    ----------
    problem
        Of one slice.
    weight, iterations
        Of the CG-SENSE image that tells the scale; see `cg_sense`.

    Returns
    -------
    Slice
        The 99.5th percentile of its CG-SENSE image is `TYPICAL`, and sum x |x| is real and positive.
    """
    image = cg_sense(problem, weight=weight, iterations=iterations)
    magnitude = image.abs()
    size = float(torch.quantile(magnitude.flatten()[:: max(1, magnitude.numel() // 10**6)], 0.995)) / TYPICAL
    turn = (image * magnitude).sum()
    phase = turn / turn.abs() if float(turn.abs()) > 0 else torch.ones_like(turn)
    scale = complex(phase) * max(size, 1e-30)
    small = replace(problem, kspace=problem.kspace / scale, noise_std=problem.noise_std / abs(scale))
    return Slice(small, scale, image / scale)


def cg_sense(problem: Problem, *, weight: float, iterations: int) -> Tensor:
    """argmin |A x − y|² + weight |x|², by conjugate gradients from 0.

    Parameters
    ----------
    problem
        Any batch.
    weight
        Of the ridge, relative to the operator's norm, which is 1.
    iterations
        Of conjugate gradients.

    Returns
    -------
    Tensor
        complex64 [batch, y, x].

    References
    ----------
    Pruessmann et al. 2001, doi:10.1002/mrm.1241.
    """
    back = problem.A.H(problem.kspace)
    return conjugate_gradient(problem.A.N, back, iterations=iterations, damping=weight).x
