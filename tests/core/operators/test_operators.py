"""What single operators compute, how they combine, and what they refuse."""

import math

import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.operators import (
    Circulant,
    Coils,
    Composition,
    Diagonal,
    Downsample,
    Fourier,
    Identity,
    Matrix,
    Scaled,
    Stack,
    Sum,
    blur,
    compose,
)
from fewstep.core.operators.coils import CoilConvolution

G = torch.Generator().manual_seed(2)


def randn(*shape, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=G)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_fourier_is_centred_and_orthonormal(n):
    j = torch.arange(n, dtype=torch.float64) - n // 2
    matrix = torch.exp(-2j * math.pi * torch.outer(j, j) / n) / math.sqrt(n)
    x = randn(3, n)
    torch.testing.assert_close(Fourier((n,), (0,))(x), x @ matrix.T)


@pytest.mark.parametrize("shape", [(6, 10), (3, 8, 6), (4, 5), (2, 2)])
def test_even_and_odd_sides_are_centred_alike(shape):
    """Sides that are twice an odd number have another sign than those that are divisible by four."""
    axes = (-2, -1)
    with torch.inference_mode():
        Fourier(shape, axes)(randn(1, *shape))  # what is kept from here must serve gradients too
    x = randn(2, *shape).requires_grad_()
    expected = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(x, dim=axes), dim=axes, norm="ortho"), dim=axes)
    torch.testing.assert_close(Fourier(shape, axes)(x), expected)
    torch.testing.assert_close(Fourier(shape, axes).H(expected), x)
    Fourier(shape, axes)(x).abs().sum().backward()
    assert x.grad is not None


def test_a_constant_image_is_the_centre_of_kspace():
    kspace = Fourier((5, 6), (0, 1))(torch.ones(1, 5, 6))
    assert kspace[0, 2, 3].real == pytest.approx(math.sqrt(30))
    kspace[0, 2, 3] = 0
    assert kspace.abs().max() < 1e-6


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5), (6, 7)])
def test_blur_is_the_circular_sum(kernel):
    weights, x = randn(*kernel, dtype=torch.float64), randn(2, 6, 7, dtype=torch.float64)
    expected = sum(
        weights[i, j] * x.roll((i - kernel[0] // 2, j - kernel[1] // 2), dims=(1, 2))
        for i in range(kernel[0])
        for j in range(kernel[1])
    )
    got = blur(weights, (6, 7))(x)
    assert got.dtype is torch.float64
    torch.testing.assert_close(got, expected)


def test_downsample_is_the_mean_of_blocks():
    x = randn(2, 3, 4, 6, dtype=torch.float64)
    expected = torch.nn.functional.avg_pool2d(x, (2, 3))
    torch.testing.assert_close(Downsample((3, 4, 6), (2, 3))(x), expected)


def test_sense_is_mask_fourier_coils():
    maps, image, mask = randn(3, 4, 5), randn(2, 4, 5), torch.rand(5, generator=G) < 0.5
    A = Diagonal(mask, (3, 4, 5)) @ Fourier((3, 4, 5), (-2, -1)) @ Coils(maps, (4, 5))
    kspace = A(image)
    for coil in range(3):
        expected = Fourier((4, 5), (0, 1))(image * maps[coil]) * mask
        torch.testing.assert_close(kspace[:, coil], expected)


@pytest.mark.parametrize("mask", [(5,), (4, 5), (1, 1, 5), (2, 1, 4, 5)], ids=str)
def test_sense_normal_goes_from_coil_to_coil_or_takes_all_at_once(mask):
    weights, x = randn(*mask), randn(2, 4, 5)
    A = Diagonal(weights, (3, 4, 5)) @ Fourier((3, 4, 5), (-2, -1)) @ Coils(randn(3, 4, 5), (4, 5))
    assert isinstance(A.N, CoilConvolution)
    for way in (A.N, A.N._together, A.N._one_by_one):
        torch.testing.assert_close(way(x), A.H(A(x)))


def test_coils_that_differ_from_item_to_item_go_either_way():
    A = Fourier((3, 4, 5), (-2, -1)) @ Coils(randn(2, 3, 4, 5), (4, 5))
    N, x = CoilConvolution(A.parts[1], Circulant(torch.rand(2, 1, 5, generator=G), (0, 1), (4, 5))), randn(2, 4, 5)
    torch.testing.assert_close(N._one_by_one(x), N._together(x))


def test_large_items_go_from_coil_to_coil(monkeypatch):
    A = Fourier((3, 4, 5), (-2, -1)) @ Coils(randn(3, 4, 5), (4, 5))
    N = CoilConvolution(A.parts[1], Circulant(torch.ones(5), (0, 1), (4, 5)))
    monkeypatch.setattr(CoilConvolution, "_together", None)
    with pytest.raises(TypeError):
        N(randn(1, 4, 5))
    monkeypatch.setattr("fewstep.core.operators.coils.IN_CACHE", 3 * 20 * 16)
    x = randn(1, 4, 5)
    torch.testing.assert_close(N(x), A.N(x))


def test_masks_that_differ_from_coil_to_coil_are_not_fused_wrongly():
    x = randn(2, 4, 5)
    A = Diagonal(randn(3, 4, 5), (3, 4, 5)) @ Fourier((3, 4, 5), (-2, -1)) @ Coils(randn(3, 4, 5), (4, 5))
    assert not isinstance(A.N, CoilConvolution)
    torch.testing.assert_close(A.N(x), A.H(A(x)))


def test_products_flatten_and_drop_identities():
    F, D, eye = Fourier((4,), (0,)), Diagonal(torch.ones(4), (4,)), Identity((4,))
    assert (D @ (F @ eye) @ D).parts == (D, F, D)
    assert eye @ F is F
    assert compose([eye, eye]) is eye
    assert F.H.H is F
    assert isinstance(F.N, Identity)


def test_undersampled_normal_operators_are_one_convolution():
    shape = (4, 5)
    A = Diagonal(torch.rand(5, generator=G) < 0.5, shape) @ Fourier(shape, (0, 1))
    assert isinstance(A.N, Circulant)
    assert isinstance(A.ridge(0.1), Composition)


def test_multiples_sums_and_stacks_mean_what_they_say():
    D, F, x = Diagonal(randn(4), (4,)), Fourier((4,), (0,)), randn(2, 4)
    torch.testing.assert_close((2j * D)(x), 2j * D(x))
    torch.testing.assert_close((D + F)(x), D(x) + F(x))
    torch.testing.assert_close((D - F)(x), D(x) - F(x))
    torch.testing.assert_close(Stack((D, F))(x), torch.stack([D(x), F(x)], dim=1))
    assert (0 * D).ridge(0.0)(x).abs().max() == 0


def test_moves_to_the_precision_of_a_tensor():
    mask = Diagonal(torch.ones(4, dtype=torch.bool), (4,))
    A = Scaled(mask @ Fourier((4,), (0,)) @ Diagonal(randn(4), (4,)), 2.0).to(torch.zeros(1, dtype=torch.complex64))
    assert [part.values.dtype for part in (A.of.parts[0], A.of.parts[2])] == [torch.bool, torch.complex64]


@pytest.mark.parametrize(
    ("A", "x", "match"),
    [
        (Identity((3,)), [1.0], "expected a tensor for Identity, got list"),
        (Identity((3,)), torch.zeros(3), r"expected \[batch, 3\] for Identity, got \[3\]"),
        (Identity((3,)), torch.zeros(2, 1, 3), r"expected \[batch, 3\] for Identity, got \[2, 1, 3\]"),
        (Fourier((4, 5), (0,)), torch.zeros(2, 5, 4), r"expected \[batch, 4, 5\] for Fourier, got \[2, 5, 4\]"),
        (Matrix(torch.zeros(2, 3, 4)), torch.zeros(3, 4), "expected a batch of 2 for Matrix"),
    ],
)
def test_wrong_items_are_refused(A, x, match):
    with pytest.raises(UsageError, match=match):
        A(x)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Diagonal(torch.zeros(4), (3,)), r"broadcast to \[3\] for Diagonal, got \[4\]"),
        (lambda: Diagonal(torch.zeros(1, 2, 3), (3,)), r"at most 2 axes for the values of Diagonal"),
        (lambda: Matrix(torch.zeros(4)), r"a matrix \[m, n\]"),
        (lambda: Fourier((3, 4), (2,)), "different axes of items"),
        (lambda: Fourier((3, 4), (0, -2)), "different axes of items"),
        (lambda: Fourier((3, 4), ()), "different axes of items"),
        (lambda: Circulant(torch.zeros(3, 5), (0,), (3, 4)), "broadcast to"),
        (lambda: blur(torch.zeros(5, 3), (4, 4)), "a kernel no larger than items"),
        (lambda: blur(torch.zeros(1, 1, 1), (4, 4)), "a kernel no larger than items"),
        (lambda: Coils(torch.zeros(2, 3, 4), (4, 3)), r"maps \[coil, 4, 3\]"),
        (lambda: Coils(torch.zeros(3, 4), (3, 4)), r"maps \[coil, 3, 4\]"),
        (lambda: Downsample((5,), (2,)), "blocks that tile"),
        (lambda: Downsample((4,), (2, 2)), "blocks that tile"),
        (lambda: Identity((3,)) @ Identity((4,)), r"A.shape_in = B.shape_out, got Identity of \[3\] after Identity"),
        (lambda: Matrix(torch.zeros(2, 3, 3)) @ Matrix(torch.zeros(4, 3, 3)), r"one size of batch, got \[2, 4\]"),
        (lambda: Identity((3,)) + Identity((4,)), "one shape to sum"),
        (lambda: Stack((Identity((3,)), Identity((4,)))), "one shape to stack"),
        (lambda: Sum(()), "one shape to sum, got none"),
    ],
)
def test_wrong_operators_are_refused(make, match):
    with pytest.raises(UsageError, match=match):
        make()


def test_tensors_are_no_factors():
    with pytest.raises(TypeError):
        Identity((3,)) * torch.ones(3)
