"""A speech enhancer as one module: a spectrum, a predictive net, and a net of a diffusion that starts from its guess.

    d = predictor(y),     x from d to x0 by the diffusion net, which is told y, or y and d

Lemercier et al. 2023 (StoRM), arXiv:2212.11851. Without a predictor d = y: SGMSE+, Richter et al. 2023,
arXiv:2208.05830. Without a diffusion net the guess is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.audio.enhance.stft import Spectrum
from fewstep.core.errors import UsageError


class Enhancement(nn.Module):
    """The parts of an enhancer; `guess`, `told` and `net` are what sampling needs.

    Parameters
    ----------
    spectrum
        The transform that the nets work in, or its options.
    predictor
        ``predictor(y) -> d``, complex [B, F, T] to the same; None: d = y.
    net
        ``net(x, t, cond)`` with cond complex [B, 1 or 2, F, T]; None: no diffusion.

    Raises
    ------
    UsageError
        If there is neither net.
    """

    def __init__(
        self,
        *,
        spectrum: Mapping[str, Any] | Spectrum | None = None,
        predictor: nn.Module | None = None,
        net: nn.Module | None = None,
    ):
        super().__init__()
        if predictor is None and net is None:
            raise UsageError("an enhancer needs a predictor or a diffusion net, got neither")
        self.spectrum = spectrum if isinstance(spectrum, Spectrum) else Spectrum(**(spectrum or {}))
        self.predictor, self.net = predictor, net

    def guess(self, y: Tensor) -> Tensor:
        """What the diffusion starts from, complex [B, F, T]."""
        return y if self.predictor is None else self.predictor(y)

    def told(self, y: Tensor, d: Tensor) -> Tensor:
        """What the diffusion net is told beside its state, complex [B, 1 or 2, F, T]."""
        return y[:, None] if self.predictor is None else torch.stack([y, d], 1)

    def reach(self, calls: int) -> int | None:
        """Frames to either side on which a frame depends after `calls` of the diffusion net; None: on all of them."""
        nets = ([] if self.predictor is None else [self.predictor]) + [self.net] * (calls if self.net else 0)
        reaches = [getattr(net, "reach", None) for net in nets]
        return None if None in reaches else sum(reaches)
