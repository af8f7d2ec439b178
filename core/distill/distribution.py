"""Distribution matching: move a generator's samples from where it puts them to where the teacher would.

DMD (Yin et al. 2023, arXiv:2311.18828, eq. 7) and variational score distillation (arXiv:2305.16213): with a `fake`
denoiser that is kept trained on the generator's own samples x,

    gradient = (D_fake(x_t) − D_real(x_t)) / mean|x − D_real(x_t)|,     loss = |x − sg(x − gradient)|² / 2

Only laws are matched: which noise becomes which sample is free. DisBack (arXiv:2408.15991) first lets the teacher
degrade to the untrained generator's law and then takes the way back as a sequence of targets.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fewstep.core.distill.distance import mean, mse
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise


def gradient(x0: Tensor, real: Tensor, fake: Tensor, *, normalise: bool = True, mask: Tensor | None = None) -> Tensor:
    """Where not to go, [batch, ...]; 0 where both denoisers agree, and where it is not finite.

    Parameters
    ----------
    x0
        The generator's samples, [batch, ...].
    real, fake
        Both denoisers' answers at the same noisy version of `x0`.
    normalise
        Divide by the item's mean |x0 − real| (eq. 8).
    mask
        What is not padding, broadcast to `x0`.

    Returns
    -------
    Tensor
        Shaped like `x0`, without gradient.
    """
    with torch.no_grad():
        away = fake - real
        if normalise:
            size = mean((x0 - real).abs(), mask).clamp_min(1e-8)
            away = away / size.reshape(-1, *[1] * (x0.ndim - 1))
        return away.nan_to_num(0.0, 0.0, 0.0)


def distribution_matching(
    x0: Tensor,
    real: Denoise,
    fake: Denoise,
    path: AffinePath,
    eps: Tensor,
    t: Tensor,
    *,
    y: Tensor | None = None,
    normalise: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """The generator's loss, [batch].

    Parameters
    ----------
    x0
        The generator's samples, with gradient, [batch, ...].
    real, fake
        ``(x, t) -> x0_hat``: the (guided) teacher, and the denoiser of the generator's law.
    path
        The process.
    eps
        Noise, shaped like `x0`.
    t
        [batch]; the paper draws it from [0.02, 0.98] t_max.
    y
        Degraded end, shaped like `x0`; None is 0.
    normalise, mask
        See `gradient`.

    Returns
    -------
    Tensor
        [batch]; its gradient with respect to `x0` is `gradient` divided by the item's size.
    """
    with torch.no_grad():
        x = path.sample(x0, eps, t, y)
        away = gradient(x0, real(x, t), fake(x, t), normalise=normalise, mask=mask)
    return 0.5 * mse(x0, x0 - away, mask)


def denoising(
    fake: Denoise,
    x0: Tensor,
    path: AffinePath,
    eps: Tensor,
    t: Tensor,
    *,
    y: Tensor | None = None,
    snr_limit: float = 5.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The fake denoiser's loss on the generator's samples, min(SNR, limit)-weighted x0 regression, [batch].

    Parameters
    ----------
    fake, path, eps, t, y, mask
        As in `distribution_matching`.
    x0
        The generator's samples; their gradient is cut.
    snr_limit
        Weights are clipped here (Hang et al. 2023, arXiv:2303.09556), and at 1 from below so that noise counts.

    Returns
    -------
    Tensor
        [batch].
    """
    x0 = x0.detach()
    weight = (2 * path.lam(t)).exp().clamp(1.0, snr_limit).to(x0.real.dtype)
    return weight * mse(fake(path.sample(x0, eps, t, y), t), x0, mask)


def backtrack(iteration: int, *, stages: int, every: int) -> int:
    """Which target of the way back serves at an iteration: 0 is the most degraded one, `stages` the teacher itself.

    Raises
    ------
    UsageError
        If there are no iterations per stage.
    """
    if every < 1 or stages < 0:
        raise UsageError(f"expected every >= 1 and stages >= 0, got {every=}, {stages=}")
    return min(iteration // every, stages)


@dataclass(frozen=True)
class DistributionMatching:
    """DMD without its regression term, for a student of one step.

    Parameters
    ----------
    low, high
        Range of the times at which laws are compared, as shares of t_max.
    normalise
        See `gradient`.
    """

    low: float = 0.02
    high: float = 0.98
    normalise: bool = True
    pairs: ClassVar[bool] = False

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        x0, t = self._sample(nets, path, items, generator), self._times(path, items, generator)
        eps = items.noise(generator)
        return distribution_matching(
            x0, nets.teacher, nets.of_student(), path, eps, t, y=items.y, normalise=self.normalise, mask=items.mask
        )

    def fake_loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch]."""
        with torch.no_grad():
            x0 = self._sample(nets, path, items, generator)
        t = items.uniform(generator, path.t_min, path.t_max)
        return denoising(nets.of_student(), x0, path, items.noise(generator), t, y=items.y, mask=items.mask)

    def _sample(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        t = torch.full((len(items.x0),), path.t_max, device=items.x0.device)
        return nets.student(path.prior(items.noise(generator), items.y), t)

    def _times(self, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        return items.uniform(generator, self.low * path.t_max, self.high * path.t_max)
