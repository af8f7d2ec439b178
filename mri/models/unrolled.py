"""A few data-consistent diffusion steps trained end to end as one reconstructor (IDM's idea, arXiv:2403.17006).

    x = x_sense;  for each learned sigma:  x0 = consistent(D)(x, sigma);  x = x0 + (sigma'/sigma)(x − x0)

It regresses a mean: what comes out is no sample of a posterior, and there is no uncertainty to be had from it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fewstep.core.consistency.spread import variance
from fewstep.core.distill.unrolled import unroll
from fewstep.core.errors import UsageError
from fewstep.core.operators import conjugate_gradient
from fewstep.core.paths import AffinePath
from fewstep.mri.methods.diffusion import QUIET, SIGMA_DATA
from fewstep.mri.problem import Problem

FLOOR = 0.03
"""Least error that an answer of the net is taken to have."""


class Unrolled(nn.Module):
    """``net(problem, start) -> image``.

    Parameters
    ----------
    net
        A prior, ``net(x, t) -> x0_hat``; its weights are trained on.
    path
        Its process.
    steps
        Calls of the net.
    start
        First sigma; the others follow evenly in log sigma, and all are learned.
    last
        Last sigma.
    iterations
        Of conjugate gradients in each step.
    recompute
        Trade a second forward pass for memory while training.

    Raises
    ------
    UsageError
        If there is no step.
    """

    def __init__(
        self,
        net: nn.Module,
        path: AffinePath,
        *,
        steps: int = 3,
        start: float = 0.15,
        last: float = 0.03,
        iterations: int = 6,
        recompute: bool = True,
    ):
        super().__init__()
        if steps < 1:
            raise UsageError(f"expected at least one step, got {steps}")
        self.net, self.path, self.calls = net, path, steps
        self.iterations, self.recompute = iterations, recompute
        self.log_sigma = nn.Parameter(torch.linspace(math.log(start), math.log(last), steps))
        self.log_trust = nn.Parameter(torch.zeros(()))

    def forward(self, problem: Problem, start: Tensor) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        problem
            In the unit of the priors.
        start
            First image, complex64 [batch, y, x].

        Returns
        -------
        Tensor
            complex64 [batch, y, x].
        """
        times = torch.cat([self.log_sigma.exp(), self.log_sigma.new_zeros(1)])
        normal, back = problem.A.N, problem.A.H(problem.kspace)
        quiet = max(QUIET, problem.noise_std)

        def consistent(x: Tensor, t: Tensor) -> Tensor:
            x0 = self.net(x, t)
            spread = variance(self.path, t, sigma_data=SIGMA_DATA, floor=FLOOR)
            damping = quiet**2 / (self.log_trust.exp() * spread)
            missing = back - normal.apply(x0)
            return x0 + conjugate_gradient(normal, missing, iterations=self.iterations, damping=damping).x

        recompute = self.recompute and torch.is_grad_enabled()
        return unroll(consistent, self.path, start, times, recompute=recompute)
