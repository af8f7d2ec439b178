"""Outside of the support of the coil maps a picture is 0: there, data say nothing, and a prior would make things up."""

from dataclasses import dataclass

import torch

from fewstep.mri.methods import Method
from fewstep.mri.problem import Problem


@dataclass(frozen=True)
class Dreamer(Method):
    """Sees things everywhere."""

    @property
    def draws(self):
        return True

    def solve(self, one, seed):
        return torch.ones(3, *one.sense.shape[1:], dtype=torch.complex64), 1


def test_nothing_is_made_up_where_no_coil_sees():
    generator = torch.Generator().manual_seed(0)
    maps = torch.ones(2, 2, 12, 10, dtype=torch.complex64) / 2**0.5
    maps[..., :3, :] = 0
    kspace = torch.randn(2, 2, 12, 10, dtype=torch.complex64, generator=generator)
    result = Dreamer()(Problem(kspace, torch.ones(12, 10, dtype=torch.bool), maps, 0.1))
    assert float(result.image[:, :3].abs().max()) == 0
    assert float(result.samples[:, :, :3].abs().max()) == 0
    assert float(result.image[:, 3:].abs().min()) > 0
