"""A small scan with a known image, and a prior that needs no training."""

import pytest
import torch

from fewstep.core import paths
from fewstep.core.pretrained import Pretrained
from fewstep.mri.data import simulate
from fewstep.mri.data.shapes import stacked
from fewstep.mri.physics.birdcage import birdcage
from fewstep.mri.physics.masks import equispaced
from fewstep.mri.problem import Problem


class Smoothing(torch.nn.Module):
    """A denoiser for any noise: a mean over neighbours, the more of it the more noise."""

    def forward(self, x, t):
        parts = torch.view_as_real(x).movedim(-1, 1)
        mean = torch.nn.functional.avg_pool2d(parts, 3, 1, 1, count_include_pad=False).movedim(1, -1).contiguous()
        share = (t / (t + 0.1)).reshape(-1, 1, 1).to(x.real.dtype)
        return x + share * (torch.view_as_complex(mean) - x)


@pytest.fixture(scope="session")
def prior():
    return Pretrained(Smoothing(), paths.edm(sigma_min=0.003, sigma_max=20.0), "x0", 8, None, {})


def scan(size=(40, 33), coils=4, acceleration=2, noise=1e-3, seeds=(0,)):
    """A problem and its images [batch, y, x]."""
    import numpy as np

    images = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        picture = torch.from_numpy(stacked(rng, max(size)))[: size[0], : size[1]]
        ramp = torch.linspace(-1, 1, size[1]) + float(rng.uniform(-1, 1))
        images.append(torch.polar(picture, ramp.expand(size)))
    maps = birdcage(coils, size) if coils > 1 else torch.ones(1, *size, dtype=torch.complex64)
    mask = equispaced(size, acceleration=acceleration, centre_fraction=0.3, seed=1)
    generator = torch.Generator().manual_seed(5)
    kspace = torch.stack([simulate.acquire(x, maps, noise_std=noise, generator=generator) for x in images])
    return Problem(kspace * mask, mask, maps.expand(len(images), -1, -1, -1), noise), torch.stack(images)
