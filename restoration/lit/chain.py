"""Training of the few-step denoiser around a mean that is already there.

    loss = E (x0_hat(x0 + sigma eps, sigma) − x0)² (q² + sigma²) / (q sigma)²,   log sigma normal

(Karras et al. 2022, arXiv:2206.00364, table 1, of the residual x0 − mean.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.lit.training_times import stratified
from fewstep.core.paths import AffinePath
from fewstep.restoration import pretrained
from fewstep.restoration.lit import losses
from fewstep.restoration.lit.training import Batch, Training, take
from fewstep.restoration.model import eta_of


class ChainModule(Training):
    """A denoiser of the residual.

    Parameters
    ----------
    net
        `fewstep.restoration.models.denoiser.Denoiser`.
    path
        The process that the export names; training does not depend on it, for the net reads sigma only.
    start
        A checkpoint of the mean, or of a whole denoiser; None: as the net is.
    mean, std
        Of log sigma, sigma in units of [-1, 1].
    steps, eta
        What the export names as the number of steps, and as eta of DDIM, for any number of steps or for some (see
        `fewstep.restoration.model.eta_of`); None: the posterior of residual shifting.
    options
        As for `Training`.
    """

    method = "resshift"

    def __init__(
        self,
        net: nn.Module,
        path: AffinePath,
        *,
        start: str | Path | None = None,
        mean: float = -2.8,
        std: float = 1.2,
        steps: int = 4,
        eta: float | Mapping[int, float] | None = None,
        **options: Any,
    ):
        super().__init__(net, **options)
        if not std > 0 or steps < 1:
            raise UsageError(f"expected std > 0 and steps >= 1, got {std=}, {steps=}")
        if eta is not None:
            eta_of(eta, steps)
        self.path, self.mean, self.std, self.steps, self.eta = path, mean, std, steps, eta
        if start is not None:
            found = pretrained.load(start).net
            take(net, found.state_dict(), within="" if hasattr(found, "regressor") else "regressor.")
        net.regressor.requires_grad_(False)

    def loss_of(self, batch: Batch, stream: tuple[int, ...]) -> Tensor:
        """Weighted squared error at random noise levels."""
        x0 = batch["x0"]
        generator = rng.generator(self.seed, *stream)
        u = stratified(len(x0), generator, x0.device)
        sigma = torch.exp(self.mean + self.std * math.sqrt(2) * torch.erfinv(2 * u - 1)).clamp(1e-3, 50)
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        x0_hat = self.net(x0 + sigma.reshape(-1, 1, 1, 1) * eps, sigma, batch["lq"], batch.get("mask"))
        q = self.net.residual_std
        return losses.squared(x0_hat, x0, batch.get("mask"), (q**2 + sigma**2) / (q * sigma) ** 2)

    def answer(self, batch: Batch) -> Tensor:
        """The denoised picture at sigma = q, where half of the residual's power is known."""
        x0, q = batch["x0"], self.net.residual_std
        eps = torch.randn(x0.shape, generator=rng.generator(self.seed, 2), dtype=x0.dtype).to(x0.device)
        sigma = torch.full((len(x0),), float(q), device=x0.device)
        return self.net(x0 + q * eps, sigma, batch["lq"], batch.get("mask"))
