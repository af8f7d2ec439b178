"""A consistency model, or any denoiser, as the proximal step of ADMM: good in 4 to 12 network calls, see `splitting`.

Plug-and-play consistency models, arXiv:2509.22736.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core import times
from fewstep.mri.methods.base import sample_seeds
from fewstep.mri.methods.diffusion import DDS, SIGMA_DATA
from fewstep.mri.methods.splitting import admm
from fewstep.mri.problem import Slice

ROUGH = 1.28
"""Times 1/steps²: sigma that is left after so many steps, as found with 4 and 8 on two slices."""


@dataclass(frozen=True)
class PnPCM(DDS):
    """ADMM with a denoiser of few calls.

    Parameters
    ----------
    noise_share
        Part of s_k that is put into the state as fresh noise. The paper's consistency models want 1; a denoiser less,
        for what is wrong with the image is noise enough, and so does a small consistency model (0.3 for 1: 2 to 5 dB
        more in four calls). 0: an estimate, not samples. The spread of samples below 1 is too small.
    momentum
        Of z between iterations.
    """

    steps: int = 8
    start: float = 0.5
    guess: str = "cg-sense"
    inflate: float = 1.2
    iterations: int = 8
    noise_share: float = 0.3
    momentum: float = 0.2

    @property
    def draws(self) -> bool:
        """Whether noise is put in."""
        return self.noise_share > 0

    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """Samples, [sample, y, x]."""
        seeds = sample_seeds(seed, self.samples)
        guess, before = self._guess(one, seed)
        answer, calls = admm(
            self.denoise(one, seeds),
            one,
            self.prior.path,
            guess.expand(self.samples, -1, -1),
            sigmas=self._levels().tolist(),
            sigma_y=self.noise(one),
            sigma_data=SIGMA_DATA,
            floor=self.floor,
            iterations=self.iterations,
            momentum=self.momentum,
            noise_share=self.noise_share,
            seeds=seeds,
        )
        return answer, calls + before

    def _levels(self) -> Tensor:
        """Noise levels; with few steps the last is higher, for the state is not as clean then."""
        if self.steps == 1:
            return torch.tensor([self.start])
        last = min(max(self.last, ROUGH / self.steps**2), 0.99 * self.start)
        return times.karras(self.prior.path, self.steps, start=min(self.start, self.prior.path.t_max), end=last)[:-1]
