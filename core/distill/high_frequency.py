"""HiPA: teach a one-step student what one step loses, the high frequencies (Zhang & Hooi 2023, arXiv:2311.18158).

    loss = D(answer, target) + weight · D(highpass answer, highpass target)

The paper's spatial distance is perceptual; any distance may be given. Only low-rank adapters are trained there (see
`fewstep.core.distill.lora`).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill import distance as distances
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


def highpass(x: Tensor, *, cutoff: float = 0.25, dims: int = 2) -> Tensor:
    """Remove frequencies below `cutoff` of the highest, with a smooth (Gaussian) edge.

    Parameters
    ----------
    x
        Real, [batch, channel, ...].
    cutoff
        In (0, 1].
    dims
        How many of the last axes are spatial.

    Returns
    -------
    Tensor
        Shaped like `x`.

    Raises
    ------
    UsageError
        If the cutoff lies outside (0, 1].
    """
    if not 0 < cutoff <= 1:
        raise UsageError(f"expected a cutoff in (0, 1], got {cutoff}")
    axes = tuple(range(-dims, 0))
    squares = 0.0
    for axis in axes:
        frequency = 2 * torch.fft.fftfreq(x.shape[axis], device=x.device, dtype=x.dtype)
        squares = squares + (frequency**2).reshape(-1, *[1] * (-axis - 1))
    keep = 1 - torch.exp(-torch.as_tensor(squares) / (2 * cutoff**2))
    return torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * keep, dim=axes).real


def high_frequency(
    answer: Tensor,
    target: Tensor,
    *,
    weight: float = 1.0,
    cutoff: float = 0.25,
    dims: int = 2,
    distance: distances.Distance = distances.l1,
) -> Tensor:
    """The loss above, [batch].

    Parameters
    ----------
    answer, target
        [batch, channel, ...].
    weight
        Of the high-pass term.
    cutoff, dims
        See `highpass`.
    distance
        Of both terms.

    Returns
    -------
    Tensor
        [batch].
    """
    fine = distance(highpass(answer, cutoff=cutoff, dims=dims), highpass(target, cutoff=cutoff, dims=dims))
    return distance(answer, target) + weight * fine


@dataclass(frozen=True)
class HighFrequency:
    """Answer the prior with the teacher's end point, its high frequencies weighted up.

    Parameters
    ----------
    weight, cutoff, dims, distance
        See `high_frequency`.
    """

    weight: float = 1.0
    cutoff: float = 0.25
    dims: int = 2
    distance: distances.Distance = distances.l1
    pairs: ClassVar[bool] = True

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        t = torch.full((len(items.x0),), path.t_max, device=items.x0.device)
        answer = nets.student(path.prior(items.carried(), items.y), t).to(items.x0.dtype)
        distance = items.measured(self.distance)
        options = {"cutoff": self.cutoff, "dims": self.dims}
        return high_frequency(answer, items.x0, weight=self.weight, distance=distance, **options)  # type: ignore[arg-type]
