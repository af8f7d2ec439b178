"""Training of DiffIR, both stages.

    stage 1: |G(lq, E(lq, x0)) − x0|;   stage 2: the same with the vector drawn by all reverse steps, + |v − E(lq, x0)|

Xia et al. 2023, arXiv:2303.09472, eq. 8 and 13. Stage 2 starts from stage 1 and keeps its extractor as the teacher.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.restoration import pretrained
from fewstep.restoration.lit import losses
from fewstep.restoration.lit.training import Batch, Training, take


class DiffIRModule(Training):
    """A `fewstep.restoration.models.diffir.DiffIR` of either stage.

    Parameters
    ----------
    net
        The net; its `stage` says what is trained.
    start
        The export of stage 1, for stage 2; for stage 1 a checkpoint to go on from, or None.
    prior_weight
        Of the vector's error in stage 2.
    options
        As for `Training`.

    Raises
    ------
    UsageError
        If stage 2 has nothing to start from, or that is not stage 1.
    """

    method = "diffir"

    def __init__(self, net: nn.Module, *, start: str | Path | None = None, prior_weight: float = 1.0, **options: Any):
        super().__init__(net, **options)
        self.prior_weight = prior_weight
        self.teacher: Any = None
        if net.stage == 2:
            first = None if start is None else pretrained.load(start).net
            if first is None or getattr(first, "stage", None) != 1:
                raise UsageError("stage 2 of DiffIR learns from stage 1: give module.start, a run or export of stage 1")
            self.teacher = first
            take(net, {name: value for name, value in first.state_dict().items() if name.startswith("body.")})
        elif start is not None:
            take(net, pretrained.load(start).net.state_dict())

    def loss_of(self, batch: Batch, stream: tuple[int, ...]) -> Tensor:
        """Mean absolute error, in stage 2 with that of the vector."""
        x0, lq = (batch["x0"] + 1) / 2, (batch["lq"] + 1) / 2
        if self.net.stage == 1:
            return losses.absolute(self.net.body(lq, self.net.prior(lq, x0)), x0)
        with torch.no_grad():
            wanted = self.teacher.prior(lq, x0)
        eps = torch.randn(wanted.shape, generator=rng.generator(self.seed, *stream)).to(wanted)
        condition = self.net.extractor(nn.functional.pixel_unshuffle(lq, self.net.fold))
        vector = self.net.chain(self.net.chain.noised(wanted, eps), condition)
        error = losses.absolute(self.net.body(lq, vector), x0)
        return error + self.prior_weight * (vector - wanted).abs().mean()

    def answer(self, batch: Batch) -> Tensor:
        """The picture; in stage 1 with the vector of the ground truth."""
        if self.net.stage == 2:
            return self.net(batch["lq"])
        x0, lq = (batch["x0"] + 1) / 2, (batch["lq"] + 1) / 2
        return self.net.body(lq, self.net.prior(lq, x0)) * 2 - 1
