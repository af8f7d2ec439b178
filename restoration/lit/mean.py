"""Training of the mean: |net(lq) − x0|, the first stage of every checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fewstep.restoration import pretrained
from fewstep.restoration.lit import losses
from fewstep.restoration.lit.training import Batch, Training, take


class MeanModule(Training):
    """A regressor by the mean absolute error.

    Parameters
    ----------
    net
        ``net(lq, mask) -> x0_hat``, see `fewstep.restoration.models.regressor`.
    start
        A restoration model whose weights are taken where they fit; None: as the net is.
    options
        As for `Training`.
    """

    def __init__(self, net: nn.Module, *, start: str | Path | None = None, **options: Any):
        super().__init__(net, **options)
        if start is not None:
            found = pretrained.load(start).net
            take(net, getattr(found, "regressor", found).state_dict())

    def loss_of(self, batch: Batch, stream: tuple[int, ...]) -> Tensor:
        """Mean absolute error."""
        return losses.absolute(self.answer(batch), batch["x0"], batch.get("mask"))

    def answer(self, batch: Batch) -> Tensor:
        """The mean."""
        return self.net(batch["lq"], batch.get("mask"))
