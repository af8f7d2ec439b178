"""Nets that answer with one image: U-Net, VarNet, residual net, Fourier primal-dual net, unrolled diffusion.

They regress a mean; they do not sample a posterior, so there is no uncertainty map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewstep.mri.methods.base import Method
from fewstep.mri.problem import Slice


@dataclass(frozen=True)
class Regression(Method):
    """A trained net as a method.

    Parameters
    ----------
    net
        ``net(problem, start) -> complex64 [batch, y, x]``, in the unit of the priors; see `fewstep.mri.models`.
    """

    net: nn.Module

    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """[1, y, x]."""
        with torch.inference_mode():
            return self.net(one.problem, one.sense).clone(), int(getattr(self.net, "calls", 1))
