"""A turned denoiser answers in the frame of its question, and is what it was if the denoiser is equivariant."""

import torch

from fewstep.mri.methods.turned import turned

T = torch.tensor(0.2)


def test_an_equivariant_denoiser_is_unchanged():
    x = torch.randn(3, 12, 10, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(turned(lambda x, t: 0.5 * x, [1, 2, 3])(x, T), 0.5 * x)


def test_planes_are_turned_with_the_state():
    x = torch.arange(2 * 12 * 9.0).reshape(2, 12, 9)
    planes = x[:1].unsqueeze(0)
    seen = turned(lambda x, t, planes: planes[:, 0], [5, 6], extra=planes)(x, T)
    assert torch.equal(seen, x[:1].expand(2, -1, -1))


def test_samples_and_times_are_turned_differently_and_repeatably():
    x = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1)
    ramp = torch.arange(16.0).expand(16, 16)
    look = turned(lambda x, t: x * ramp, [1, 2, 3, 4])
    first = look(x, T)
    assert torch.equal(first, look(x, T))
    assert not torch.equal(first, look(x, T / 2))
    assert not torch.equal(first[0], first[1])
