"""MATLAB's bicubic against its definition, written out pixel by pixel."""

import math

import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.restoration.degrade.imresize import imresize, quantized


def _cubic(d):
    d = abs(d)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d <= 2 else 0.0


def _by_definition(row, scale):
    """One row of pixels, each output a weighted mean over every mirrored input within reach."""
    n, shrink = len(row), min(scale, 1)
    out = []
    for i in range(math.ceil(n * scale)):
        at = (i + 0.5) / scale - 0.5
        reach = range(math.floor(at - 2 / shrink) - 1, math.ceil(at + 2 / shrink) + 2)
        weights = [_cubic(shrink * (at - k)) for k in reach]
        mirrored = [(k % (2 * n)) if (k % (2 * n)) < n else 2 * n - 1 - k % (2 * n) for k in reach]
        out.append(sum(w * row[k] for w, k in zip(weights, mirrored, strict=True)) / sum(weights))
    return out


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 0.7, 1.0, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("n", [3, 12, 17])
def test_against_the_definition(scale, n):
    x = torch.randn(2, n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    got = imresize(x, scale)
    rows = torch.tensor([[_by_definition(c, scale) for c in plane.T.tolist()] for plane in x]).transpose(1, 2)
    both = torch.tensor([[_by_definition(r, scale) for r in plane.tolist()] for plane in rows])
    torch.testing.assert_close(got, both.double(), atol=1e-6, rtol=0)


def test_a_constant_stays_and_size_is_kept():
    x = torch.full((3, 13, 9), 0.3, dtype=torch.float64)
    assert imresize(x, 0.25).shape == (3, 4, 3)
    torch.testing.assert_close(imresize(x, size=(5, 20)), torch.full((3, 5, 20), 0.3, dtype=torch.float64))
    assert torch.equal(imresize(x, 1.0), x)


def test_one_pixel_is_no_special_case():
    assert torch.allclose(imresize(torch.full((3, 1, 1), 0.5), 4), torch.full((3, 4, 4), 0.5))


@pytest.mark.parametrize("options", [{}, {"scale": 0}, {"scale": 2, "size": (3, 3)}, {"size": (0, 3)}])
def test_what_is_no_size(options):
    with pytest.raises(UsageError, match="a positive scale or a positive size"):
        imresize(torch.zeros(3, 4, 4), **options)


def test_what_is_no_picture():
    with pytest.raises(UsageError, match="floating point"):
        imresize(torch.zeros(3, 4, 4, dtype=torch.uint8), 2)


def test_levels():
    levels = torch.arange(256) / 127.5 - 1
    torch.testing.assert_close(quantized(levels + 0.4 / 127.5), levels)
    assert quantized(torch.tensor([-3.0, 3.0])).tolist() == [-1, 1]
