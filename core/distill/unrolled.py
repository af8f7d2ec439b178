"""End-to-end training of a whole few-step sampler: the steps are unrolled and differentiated as one net.

Memory: each step's activations are recomputed in the backward pass (Chen et al. 2016, arXiv:1604.06174), so it grows
with the number of states, not of layers. IDM (arXiv:2403.17006) and DiffIR (arXiv:2303.09472) train so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fewstep.core.distill import distance as distances
from fewstep.core.distill.recipe import Items, Nets, grid
from fewstep.core.distill.segment import Step, ddim
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def unroll(
    denoise: Denoise,
    path: AffinePath,
    x: Tensor,
    times: Tensor,
    *,
    y: Tensor | None = None,
    step: Step = ddim,
    recompute: bool = True,
) -> Tensor:
    """The sampler's end, differentiable with respect to everything in it.

    Parameters
    ----------
    denoise
        ``(x, t) -> x0_hat`` with t [batch]; data consistency and guidance included.
    path
        The process.
    x
        State at ``times[0]``, [batch, ...].
    times
        Decreasing, [n + 1].
    y
        Degraded end, shaped like `x`; None is 0.
    step
        `ddim`, `heun` or another deterministic step.
    recompute
        Trade a second forward pass for memory.

    Returns
    -------
    Tensor
        State at ``times[-1]``.
    """
    every = [time.to(x.device).expand(len(x)) for time in times]
    for t, r in pairwise(every):
        if recompute:
            x = checkpoint(step, denoise, path, x, t, r, y, use_reentrant=False)
        else:
            x = step(denoise, path, x, t, r, y)
    return x


@dataclass(frozen=True)
class Unrolled:
    """Fine-tune a sampler of `steps` steps as one net: on the teacher's pairs, or on data with fresh noise.

    Parameters
    ----------
    steps
        Of the sampler.
    times
        Its falling times [steps + 1]; default even ones.
    step
        `ddim` or `heun`.
    recompute
        See `unroll`.
    distance
        See `fewstep.core.distill.distance`.
    pairs
        Learn where the teacher carries a noise. False: learn the data themselves from fresh noise, for tasks whose
        `y` or condition leaves little to chance (restoration, reconstruction).
    """

    steps: int = 3
    times: Sequence[float] | None = None
    step: Step = ddim
    recompute: bool = True
    distance: distances.Distance = distances.l1
    pairs: bool = True

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        eps = items.carried() if self.pairs else items.noise(generator)
        start, times = path.prior(eps, items.y), self.grid(path)
        end = unroll(nets.student, path, start, times, y=items.y, step=self.step, recompute=self.recompute)
        return items.measured(self.distance)(end, items.x0)

    def grid(self, path: AffinePath) -> Tensor:
        """The student's times."""
        return grid(path, self.steps, self.times)
