"""A residual net with data-consistency layers: down by strided convolutions, residual blocks, up, then agree with y.

After ReconResNet (Chatterjee et al. 2021, arXiv:2103.09203): 7 x 7 stem, two halvings, residual blocks with instance
norm; here complex in and out, no min-max scaling, and consistency inside the net instead of after it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.mri.models.consistency import DataConsistency, cplx, real
from fewstep.mri.problem import Problem


class ReconResNet(nn.Module):
    """``net(problem, start) -> image``.

    Parameters
    ----------
    width
        Channels at full resolution; doubled by each of two halvings.
    blocks
        Residual blocks at the coarsest resolution.
    cascades
        How often net and consistency take turns; each has weights of its own.
    """

    def __init__(self, *, width: int = 16, blocks: int = 4, cascades: int = 2):
        super().__init__()
        self.nets = nn.ModuleList(_Body(width, blocks) for _ in range(cascades))
        self.consistencies = nn.ModuleList(DataConsistency(steps=2) for _ in range(cascades))

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
        back = problem.A.H(problem.kspace)
        x = start
        for net, consistency in zip(self.nets, self.consistencies, strict=True):
            x = consistency(x + cplx(net(real(x))).squeeze(1), problem, back)
        return x


class _Body(nn.Module):
    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.enter = nn.Sequential(
            nn.Conv2d(2, width, 7, padding=3),
            nn.PReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.PReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.PReLU(),
        )
        self.blocks = nn.ModuleList(_Residual(4 * width) for _ in range(blocks))
        self.leave = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
            nn.PReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.PReLU(),
        )
        self.last = nn.Conv2d(width + 2, 2, 7, padding=3)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """float [batch, 2, y, x] -> the same shape."""
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        h = self.enter(padded)
        for block in self.blocks:
            h = block(h)
        return self.last(torch.cat([self.leave(h), padded], 1))[..., :height, :width]


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.InstanceNorm2d(width, affine=True),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.InstanceNorm2d(width, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """As it comes."""
        return x + self.layers(x)
