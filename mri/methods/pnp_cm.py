"""A consistency model, or any denoiser, as the proximal step of ADMM: 2 to 4 network calls.

    x <- argmin |A x − y|² + rho |x − (z − u)|²  (conjugate gradients);  z <- f(x + u + s_k n, s_k);  u <- u + x − z

Plug-and-play consistency models, arXiv:2509.22736. The splitting carries two states, so that it is no table of
coefficients; each of its rows is a call of the same ``denoise(x, t)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core import nfe, rng
from fewstep.core.operators import conjugate_gradient
from fewstep.mri.methods.base import sample_seeds
from fewstep.mri.methods.diffusion import DDS, SIGMA_DATA
from fewstep.mri.problem import Slice


@dataclass(frozen=True)
class PnPCM(DDS):
    """ADMM with a denoiser of few calls.

    Parameters
    ----------
    noise_share
        Part of s_k that is put into the state as fresh noise. A consistency model wants 1; a denoiser less, for what is
        wrong with the image is noise enough. 0: an estimate, not samples. The spread of samples below 1 is too small.
    momentum
        Of z between iterations.
    """

    steps: int = 8
    start: float = 0.5
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
        A, denoise = one.problem.A, self.denoise(one, seeds)
        normal, back = A.N, A.H(one.problem.kspace)
        shape = (self.samples, *one.sense.shape[1:])
        streams = rng.seeded(seeds)
        x = self._guess(one, seed).expand(shape)
        u, z, before = torch.zeros_like(x), x, x
        with torch.inference_mode(), nfe.count() as counter:
            for sigma in self._grid()[:-1].tolist():
                t = torch.tensor(sigma, device=x.device)
                noise = rng.normal(shape, streams, x.dtype).to(x.device)
                z = nfe.call(denoise, x + u + self.noise_share * sigma * noise, t)
                z, before = z + self.momentum * (z - before), z
                u = u + x - z
                rho = self.noise(one) ** 2 / self._spread(sigma)
                goal = z - u
                missing = back - normal.apply(goal)
                x = goal + conjugate_gradient(normal, missing, iterations=self.iterations, damping=rho).x
        return x.clone(), counter.calls

    def _spread(self, sigma: float) -> float:
        return max(sigma**2 * SIGMA_DATA**2 / (sigma**2 + SIGMA_DATA**2), self.floor**2)
