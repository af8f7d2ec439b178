"""Fourier primal-dual net: some images and some k-spaces improve each other; complex throughout, so the phase is kept.

    h <- h + w_d CNN([h, A f, y])         dual: k-space of each coil, unrolled with shared weights over coils
    f <- f + w_p CNN([f, A.H h])          primal: images; the answer is their mean

Learned primal-dual (Adler & Öktem 2018, arXiv:1707.06474) with the Fourier transform (Chatterjee et al. 2023,
arXiv:2310.01073). Primal lengths start at 0, so that the net starts as the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewstep.mri.models.consistency import cplx, real
from fewstep.mri.problem import Problem


class FourierPrimalDual(nn.Module):
    """``net(problem, start) -> image``.

    Parameters
    ----------
    primal, dual
        Number of images and of k-spaces per coil.
    iterations
        Turns of both, each with weights of its own.
    width
        Channels of the nets' middle layers.
    """

    def __init__(self, *, primal: int = 3, dual: int = 2, iterations: int = 4, width: int = 32):
        super().__init__()
        self.primal, self.dual = primal, dual
        self.duals = nn.ModuleList(_three(2 * (dual + 2), 2 * dual, width) for _ in range(iterations))
        self.primals = nn.ModuleList(_three(2 * (primal + 1), 2 * primal, width) for _ in range(iterations))
        self.lengths = nn.Parameter(torch.stack([torch.zeros(iterations), torch.ones(iterations)]))

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
        batch, coils, height, width = problem.kspace.shape
        size = problem.kspace.abs().flatten(1).std(1)[:, None, None, None, None].clamp(min=1e-8)
        y = problem.kspace[:, :, None] / size
        f = start[:, None].expand(-1, self.primal, -1, -1)
        h = y.new_zeros(batch, coils, self.dual, height, width)
        for i, (dual, primal) in enumerate(zip(self.duals, self.primals, strict=True)):
            seen = problem.A(f.mean(1))[:, :, None] / size
            told = torch.cat([h, seen, y], 2).flatten(0, 1)
            h = h + self.lengths[1, i] * cplx(dual(real(told))).unflatten(0, (batch, coils))
            back = problem.A.H((h.mean(2, keepdim=True) * size).squeeze(2))
            f = f + self.lengths[0, i] * cplx(primal(real(torch.cat([f, back[:, None]], 1))))
        return f.mean(1)


def _three(channels: int, out: int, width: int) -> nn.Sequential:
    """Three convolutions, periodic at the borders as the Fourier transform is."""
    options = {"padding": 1, "padding_mode": "circular"}
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, **options),
        nn.PReLU(),
        nn.Conv2d(width, width, 3, **options),
        nn.PReLU(),
        nn.Conv2d(width, out, 3, **options),
    )
