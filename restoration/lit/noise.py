"""Training of IR-SDE's nets: the distance of two means of the reverse step, that of the net and the optimal one.

    loss = |w(t) (eps_hat − eps)|,   w = C (1 − A²)/(1 − B²) s/B,   A = a_t/a_{t−1}, B = a_t, C = a_{t−1}

Luo et al. 2023, arXiv:2301.11699, eq. 14-15: both means are the same function of x0, and x0 = (x_t − b y − s eps)/a.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.restoration.lit.training import Batch, Training
from fewstep.restoration.models.base import base


class NoiseModule(Training):
    """A net of `fewstep.restoration.models.ir_sde`.

    Parameters
    ----------
    net
        ``net(x, mu, timestep) -> eps``, on pictures in [0, 1].
    path
        `fewstep.core.paths.ir_sde`, in units of [-1, 1]: twice the published max_sigma.
    task, scale
        What y is, see `fewstep.restoration.models.base`.
    steps
        What the export names as the number of steps.
    options
        As for `Training`.

    Raises
    ------
    UsageError
        If the path has no timesteps.
    """

    method = "ir-sde"

    def __init__(
        self, net: nn.Module, path: AffinePath, *, task: str = "deblur", scale: int = 1, steps: int = 5, **options: Any
    ):
        super().__init__(net, **options)
        if path.n_train is None:
            raise UsageError("IR-SDE is trained at timesteps: take path=ir_sde, or another path that has them")
        self.path, self.task, self.scale, self.steps = path, task, scale, steps

    def loss_of(self, batch: Batch, stream: tuple[int, ...]) -> Tensor:
        """Mean absolute distance of the means."""
        x0, n = batch["x0"], self.path.n_train
        generator = rng.generator(self.seed, *stream)
        step = torch.randint(1, n + 1, (len(x0),), generator=generator).to(x0.device)
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        y = base(self.task, self.scale, batch["lq"], batch.get("mask"))
        eps_hat = self._asked(self.path.sample(x0, eps, step.double() / n, y), y, step)
        weight = self.weight(step).to(x0).reshape(-1, 1, 1, 1)
        return (weight * (eps_hat - eps)).abs().mean()

    def weight(self, step: Tensor) -> Tensor:
        """w of the timesteps 1 to T, float64, [batch]."""
        n = self.path.n_train
        a, _, s = self.path.coefficients(step.double() / n)
        before = self.path.coefficients((step.double() - 1) / n)[0]
        return before * (1 - (a / before) ** 2) / (1 - a**2) * s / a

    def answer(self, batch: Batch) -> Tensor:
        """x0_hat half way."""
        x0, n = batch["x0"], self.path.n_train
        y = base(self.task, self.scale, batch["lq"], batch.get("mask"))
        step = torch.full((len(x0),), max(1, n // 2), device=x0.device)
        eps = torch.randn(x0.shape, generator=rng.generator(self.seed, 2), dtype=x0.dtype).to(x0.device)
        t = step.double() / n
        a, b, s = self.path.broadcast(self.path.coefficients(t), x0)
        x = a * x0 + b * y + s * eps
        return (x - b * y - s * self._asked(x, y, step)) / a

    def _asked(self, x: Tensor, y: Tensor, step: Tensor) -> Tensor:
        return self.net((x + 1) / 2, (y + 1) / 2, step).to(x.dtype)
