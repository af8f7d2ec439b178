"""The reference denoiser starts at its input and is of the size of ours."""

import torch

from fewstep.core import rng
from fewstep.restoration.models.dncnn import DnCNN
from fewstep.restoration.models.regressor import Regressor


def test_it_starts_at_the_input_and_is_as_large_as_ours():
    net = DnCNN(width=8, layers=3)
    lq = torch.rand(2, 3, 9, 7, generator=rng.generator(0))
    assert torch.equal(net(lq), lq)
    ours = Regressor(task="denoise", fold=2, width=48, blocks=10)
    sizes = [sum(value.numel() for value in each.parameters()) for each in (DnCNN(), ours)]
    assert 0.9 < sizes[0] / sizes[1] < 1.1
