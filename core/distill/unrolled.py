"""End-to-end training of a whole few-step sampler: the steps are unrolled and differentiated as one net.

Memory: each step's activations are recomputed in the backward pass (Chen et al. 2016, arXiv:1604.06174), so it grows
with the number of states, not of layers. IDM (arXiv:2403.17006) and DiffIR (arXiv:2303.09472) train so.
"""

from itertools import pairwise

from torch import Tensor
from torch.utils.checkpoint import checkpoint

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
