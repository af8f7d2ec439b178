import math

import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.operators import (
    Coils,
    Diagonal,
    Fourier,
    adjoint_error,
    conjugate_gradient,
    linearity_error,
    normal_error,
)
from fewstep.core.operators.laws import probe
from fewstep.mri.physics import birdcage, remove_oversampling, sampling, sense
from fewstep.mri.physics.masks import KINDS, make
from fewstep.mri.physics.nufft import NonUniform, radial_sense, radial_trajectory
from fewstep.mri.physics.readout import crop, crop_picture

LAWS = [adjoint_error, linearity_error, normal_error]
G = torch.Generator().manual_seed(7)


def randn(*shape):
    return torch.randn(shape, dtype=torch.complex128, generator=G)


def some(*shape):
    mask = torch.rand(shape, generator=G) < 0.5
    mask[..., shape[-2] // 2, shape[-1] // 2] = True
    return mask


OPERATORS = {
    "columns": sense(randn(3, 9, 7), some(1, 7)),
    "columns, whole mask": sense(randn(3, 9, 7), some(1, 7).expand(9, 7)),
    "rows": sense(randn(3, 8, 7), some(8, 1)),
    "points": sense(randn(2, 5, 6), some(5, 6)),
    "columns by item": sense(randn(4, 3, 6, 5), some(4, 1, 5)),
    "points by item, maps for all": sense(randn(3, 6, 5), some(4, 6, 5)),
    "one coil": sampling(some(1, 7), (9, 7)),
    "nothing left out": sense(randn(2, 4, 5), torch.ones(4, 5, dtype=torch.bool)),
    "one row": sense(randn(2, 1, 8), some(1, 8)),
    **{
        f"mask {kind}": sense(randn(2, 24, 25), make(kind, (24, 25), acceleration=3, centre_fraction=0.2, seed=1))
        for kind in KINDS
    },
}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", OPERATORS)
def test_laws(name, law):
    assert law(OPERATORS[name]) < 1e-10


@pytest.mark.parametrize("name", OPERATORS)
def test_batch_is_a_loop(name):
    A = OPERATORS[name]
    x = probe(A, A.shape_in, 3, torch.complex128, 5)
    together = A(x)
    for i in range(len(x)):
        alone = A(x[i : i + 1].expand_as(x)) if A.batch else A(x[i : i + 1])
        torch.testing.assert_close(alone[i if A.batch else 0], together[i], rtol=0, atol=1e-12)


@pytest.mark.parametrize("mask", [some(1, 7), some(9, 1), some(9, 7), some(2, 1, 7)], ids=["x", "y", "yx", "items"])
def test_order_of_the_parts_changes_nothing(mask):
    maps, x = randn(2, 3, 9, 7), randn(2, 9, 7)
    whole = (3, 9, 7)
    values = mask.unsqueeze(1) if mask.ndim == 3 else mask
    plain = Diagonal(values, whole) @ Fourier(whole, (-2, -1)) @ Coils(maps, (9, 7))
    ours = sense(maps, mask)
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.N(x), plain.N(x), rtol=0, atol=1e-12)


def test_normal_operator_of_columns_transforms_one_axis():
    A = sense(randn(3, 9, 7), some(1, 7).expand(9, 7))
    assert A.N.convolution.axes == (-1,)


def test_fully_sampled_sense_is_solved_at_once():
    maps = birdcage(6, (16, 15), dtype=torch.complex128)
    A = sense(maps, torch.ones(16, 15, dtype=torch.bool))
    x = randn(1, 16, 15)
    found = conjugate_gradient(A.N, A.H(A(x)), iterations=2).x
    torch.testing.assert_close(found, x, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "maps, mask, message",
    [
        (randn(3, 4, 5).real, some(4, 5), "complex coil maps"),
        (randn(4, 5), some(4, 5), "complex coil maps"),
        (randn(3, 4, 5), some(4, 5).float(), "mask of bool"),
        (randn(3, 4, 5), some(5, 4), "broadcasts to"),
        (randn(3, 4, 5), torch.ones(5, dtype=torch.bool), "broadcasts to"),
    ],
)
def test_refuses(maps, mask, message):
    with pytest.raises(UsageError, match=message):
        sense(maps, mask)


@pytest.mark.parametrize("n, size", [(16, 8), (15, 8), (16, 7), (15, 7), (8, 8)])
def test_oversampling_is_the_middle_of_the_picture(n, size):
    image = randn(2, n, 5)
    kspace = Fourier((n, 5), (0, 1)).apply(image)
    small = remove_oversampling(kspace, size)
    back = Fourier((size, 5), (0, 1)).apply_adjoint(small)
    torch.testing.assert_close(back, crop(image, size, -2), rtol=0, atol=1e-12)
    other = remove_oversampling(kspace.mT.contiguous(), size, axis=-1)
    torch.testing.assert_close(other, small.mT, rtol=0, atol=1e-12)


def test_crop_keeps_the_centre():
    x = torch.zeros(9, 8)
    x[4, 4] = 1
    for size in [(9, 8), (8, 7), (3, 2), (1, 1)]:
        assert crop_picture(x, size)[size[0] // 2, size[1] // 2] == 1
    with pytest.raises(UsageError, match="size of 1 to 9"):
        crop(x, 10, 0)


def direct(A, x):
    y, across = (torch.arange(n, dtype=torch.float64) - n // 2 for n in A.shape[1:])
    w = A.trajectory.double()
    waves = torch.exp(-1j * (w[0][:, None, None] * y[:, None] + w[1][:, None, None] * across))
    return torch.einsum("myx,bcyx->bcm", waves, x) / math.sqrt(len(y) * len(across))


@pytest.mark.parametrize("shape", [(2, 12, 11), (1, 9, 16)])
def test_radial(shape):
    pytest.importorskip("torchkbnufft")
    A = NonUniform(radial_trajectory(5, 16), shape)
    assert adjoint_error(A) < 1e-10
    assert linearity_error(A) < 1e-10
    x = randn(2, *shape)
    expected = direct(A, x)
    assert float((A(x) - expected).abs().max()) < 5e-3 * float(expected.abs().max())


def test_radial_sense():
    pytest.importorskip("torchkbnufft")
    A = radial_sense(birdcage(3, (12, 12), dtype=torch.complex128), radial_trajectory(20, 24))
    assert A.shape_out == (3, 480)
    assert adjoint_error(A) < 1e-10
    x = torch.zeros(1, 12, 12, dtype=torch.complex128)
    x[0, 4:9, 3:8] = 1
    found = conjugate_gradient(A.N, A.H(A(x)), iterations=60).x
    assert float((found - x).norm() / x.norm()) < 0.05


def test_radial_refuses():
    with pytest.raises(UsageError, match=r"trajectory \[2, sample\]"):
        NonUniform(torch.zeros(3, 4), (1, 8, 8))
    with pytest.raises(UsageError, match=r"within \[-pi, pi\]"):
        NonUniform(torch.full((2, 4), 4.0), (1, 8, 8))
    with pytest.raises(UsageError, match="at least one spoke"):
        radial_trajectory(0, 4)
