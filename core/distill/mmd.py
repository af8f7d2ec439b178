"""Maximum mean discrepancy of features, to fine-tune a sampler of few steps as a whole.

The unbiased estimate of MMD² (Gretton et al. 2012, JMLR 13, lemma 6) with the cubic polynomial kernel of the kernel
Inception distance (Bińkowski et al. 2018, arXiv:1801.01401); the states come from an unrolled sampler (see
`unrolled`). It may be negative; its mean is 0 exactly where the laws agree. Averages over several batches
are those of small batches: accumulate features, not losses, where memory allows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill.recipe import Items, Nets, grid
from fewstep.core.distill.unrolled import unroll
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

Kernel = Callable[[Tensor, Tensor], Tensor]


def polynomial(x: Tensor, y: Tensor, *, degree: int = 3, coef: float = 1.0) -> Tensor:
    """(x·y / d + coef)^degree: [n, d], [m, d] -> [n, m]."""
    return (x @ y.T / x.shape[1] + coef) ** degree


def gaussian(x: Tensor, y: Tensor, *, widths: tuple[float, ...] = (0.1, 0.3, 1.0)) -> Tensor:
    """Sum over widths w of exp(−|x − y|² / (2 w² d)): [n, d], [m, d] -> [n, m]; sees every moment."""
    square = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0) / x.shape[1]
    return torch.stack([torch.exp(-square / (2 * w * w)) for w in widths]).sum(dim=0)


def mmd2(x: Tensor, y: Tensor, *, kernel: Kernel = polynomial) -> Tensor:
    """Unbiased squared discrepancy of two sets of features.

    Parameters
    ----------
    x, y
        [n, d] and [m, d], n and m at least 2.
    kernel
        ``(x, y) -> [n, m]``.

    Returns
    -------
    Tensor
        Scalar, differentiable.

    Raises
    ------
    UsageError
        If a set has fewer than two items or the features differ in size.
    """
    if min(len(x), len(y)) < 2 or x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise UsageError(f"expected features [n, d] and [m, d], n, m >= 2, got {list(x.shape)} and {list(y.shape)}")
    return _within(kernel(x, x)) + _within(kernel(y, y)) - 2 * kernel(x, y).mean()


def _within(k: Tensor) -> Tensor:
    n = len(k)
    return (k.sum() - k.diagonal().sum()) / (n * (n - 1))


@dataclass(frozen=True)
class MomentMatching:
    """Fine-tune a sampler of `steps` even DDIM steps so that its features have the data's law.

    Parameters
    ----------
    steps
        Of the sampler.
    times
        Its falling times [steps + 1]; default even ones.
    recompute
        See `fewstep.core.distill.unrolled.unroll`.
    features
        ``x0 -> [batch, d]``, a frozen net; default: the flattened signal itself.
    kernel
        `polynomial` or `gaussian`.
    """

    steps: int = 4
    times: Sequence[float] | None = None
    recompute: bool = True
    features: Callable[[Tensor], Tensor] | None = None
    kernel: Kernel = polynomial
    pairs: ClassVar[bool] = False

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """One number, [1]: it belongs to the batch, not to its items."""
        start = path.prior(items.noise(generator), items.y)
        drawn = unroll(nets.student, path, start, self.grid(path), y=items.y, recompute=self.recompute)
        see = self.features or (lambda x: x.flatten(1))
        with torch.autocast(drawn.device.type, enabled=False):  # differences of near equal sums
            return mmd2(see(drawn).float(), see(items.x0).float(), kernel=self.kernel)[None]

    def grid(self, path: AffinePath) -> Tensor:
        """The student's times."""
        return grid(path, self.steps, self.times)
