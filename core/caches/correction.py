"""What is done to a prediction before it is used, and to the times of rows that use one.

`Affine`: per row and channel, F ~ a F_predicted + b by least squares (CacheQuant, Liu et al. 2025, arXiv:2503.01323;
ERTACache's rectification, Peng et al. 2025, arXiv:2508.21091). `Scale`: the prediction times phi_i; on a flow's whole
net that is a step of phi_i dt. `rescaled` puts the same into the grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from fewstep.core.errors import UsageError


class Correction(Protocol):
    """Maps predictions to better ones."""

    def correct(self, site: str, row: int, value: Tensor) -> Tensor:
        """The value to use; must not change `value`."""


@dataclass(frozen=True)
class AsPredicted:
    """No correction."""

    def correct(self, site: str, row: int, value: Tensor) -> Tensor:
        """`value` itself, whatever the `site` and `row`."""
        return value


@dataclass(frozen=True, eq=False)
class Affine:
    """a F + b with the numbers of (site, row); rows without numbers stay as they are.

    Parameters
    ----------
    table
        (site, row) -> (a, b), each broadcast against the feature, see `affine`.
    """

    table: Mapping[tuple[str, int], tuple[Tensor, Tensor]]

    def correct(self, site: str, row: int, value: Tensor) -> Tensor:
        """One fused pass."""
        found = self.table.get((site, row))
        if found is None:
            return value
        a, b = (part.to(value) for part in found)
        return torch.addcmul(b, value, a)


@dataclass(frozen=True)
class Scale:
    """phi_i F at row i.

    Parameters
    ----------
    phi
        Row -> factor; other rows are not scaled.
    """

    phi: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))

    def correct(self, site: str, row: int, value: Tensor) -> Tensor:
        """A multiple of the prediction."""
        phi = self.phi.get(row, 1.0)
        return value if phi == 1.0 else value * phi


def affine(predicted: Tensor, actual: Tensor, *, channel: int = 1) -> tuple[Tensor, Tensor]:
    """Least squares of actual ~ a predicted + b, one pair per channel.

    Parameters
    ----------
    predicted, actual
        [batch, ...], the same shape.
    channel
        Dimension of the channels.

    Returns
    -------
    a, b : Tensor
        Shaped to broadcast; a = 1 where the prediction is constant.

    Raises
    ------
    UsageError
        If the shapes differ.
    """
    if predicted.shape != actual.shape:
        raise UsageError(f"expected two tensors of one shape, got {list(predicted.shape)} and {list(actual.shape)}")
    others = [dim for dim in range(predicted.ndim) if dim != channel % predicted.ndim]
    p, q = predicted.double(), actual.double()
    p_mean, q_mean = p.mean(others, keepdim=True), q.mean(others, keepdim=True)
    variance = ((p - p_mean) ** 2).mean(others, keepdim=True)
    covariance = ((p - p_mean) * (q - q_mean)).mean(others, keepdim=True)
    a = torch.where(variance > 0, covariance / variance.clamp(min=torch.finfo(p.dtype).tiny), 1.0)
    return a.to(actual), (q_mean - a * p_mean).to(actual)


def rescaled(times: Sequence[float] | Tensor, phi: Mapping[int, float]) -> Tensor:
    """A grid whose steps are phi_i times as long where a prediction is used, and longer elsewhere.

    What the shortened steps leave is spread over the steps after them, in proportion; the ends stay where they are.

    Parameters
    ----------
    times
        Decreasing, [n + 1].
    phi
        Step -> factor in [0, 1].

    Returns
    -------
    Tensor
        Decreasing, [n + 1], float64.

    Raises
    ------
    UsageError
        If a factor is outside [0, 1], or the last step is shortened (nothing comes after it).

    References
    ----------
    Peng et al. 2025, arXiv:2508.21091, section on the correction of time steps.
    """
    grid = torch.as_tensor(times, dtype=torch.float64)
    steps = len(grid) - 1
    if any(not 0 <= value <= 1 or not 0 <= step < steps - 1 for step, value in phi.items()):
        raise UsageError(f"expected factors in [0, 1] of steps before the last of {steps}, got {dict(phi)}")
    new = [float(grid[0])]
    for i in range(steps):
        stretch = (new[-1] - float(grid[-1])) / float(grid[i] - grid[-1])
        new.append(new[-1] + float(grid[i + 1] - grid[i]) * stretch * phi.get(i, 1.0))
    return torch.tensor([*new[:-1], float(grid[-1])], dtype=torch.float64)
