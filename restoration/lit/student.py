"""The one-step student: what a deterministic chain makes of its first noise, in one call.

    loss = |student(eps) − chain(y + s(1) eps)|²,   the chain with x_{t−1} = k x0_hat + m x_t + j y

which is DDIM on the shifting path (Wang et al. 2023, SinSR, arXiv:2311.14760, eq. 7-9).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import rng, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.sample import sample
from fewstep.restoration import pretrained
from fewstep.restoration.lit import losses
from fewstep.restoration.lit.training import Batch, Training, take
from fewstep.restoration.models.base import base
from fewstep.restoration.models.denoiser import means_once


class StudentModule(Training):
    """Trains `net.student`; everything else stays.

    Parameters
    ----------
    net
        `Denoiser` with ``student: true``.
    path
        The process of the chain.
    start
        The checkpoint that is distilled; None: as the net is.
    chain
        Steps of the teacher's chain.
    steps
        What the export names as the number of steps.
    options
        As for `Training`.

    Raises
    ------
    UsageError
        If the net has no student.
    """

    method = "resshift"

    def __init__(
        self,
        net: nn.Module,
        path: AffinePath,
        *,
        start: str | Path | None = None,
        chain: int = 4,
        steps: int = 4,
        **options: Any,
    ):
        super().__init__(net, **options)
        if getattr(net, "student", None) is None:
            raise UsageError("expected a net with a student: module.net.student=true")
        self.path, self.chain, self.steps = path, chain, steps
        if start is not None:
            found = pretrained.load(start)
            self.eta = found.config.get("eta")
            take(net, found.net.state_dict())
            state = {k.removeprefix("body."): v for k, v in net.state_dict().items() if k.startswith("body.")}
            take(net, state, within="student.")
        self.net.requires_grad_(False)
        self.net.student.requires_grad_(True)

    def loss_of(self, batch: Batch, stream: tuple[int, ...]) -> Tensor:
        """Squared error against the chain, in units of the residual's variance."""
        lq, mask = batch["lq"], batch.get("mask")
        x0 = batch["x0"]
        eps = torch.randn(x0.shape, generator=rng.generator(self.seed, *stream), dtype=x0.dtype).to(x0.device)
        with means_once():
            answer = self.net.one(eps, lq, mask)
            wanted = self.teacher(eps, lq, mask)
        return losses.squared(answer, wanted, mask) / self.net.residual_std**2

    def teacher(self, eps: Tensor, lq: Tensor, mask: Tensor | None = None) -> Tensor:
        """The end of the deterministic chain that starts with this noise, shaped like `eps`."""
        y = base(self.net.regressor.task, self.net.regressor.scale, lq, mask)

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            a, b, s = (float(value) for value in self.path.coefficients(t.double()))
            sigma = torch.full((len(x),), s / a, device=x.device)
            return self.net((x - b * y) / a, sigma, lq, mask)

        grid = times.uniform(self.path, self.chain)
        x = self.path.prior(eps, y, t=float(grid[0]))
        return sample(denoise, self.path, times=grid, solver=solvers.ddim(), x=x, y=y).x

    def answer(self, batch: Batch) -> Tensor:
        """The student's answer."""
        eps = torch.randn(batch["x0"].shape, generator=rng.generator(self.seed, 2)).to(batch["x0"])
        return self.net.one(eps, batch["lq"], batch.get("mask"))
