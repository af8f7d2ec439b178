"""fastMRI's metrics by their definitions, the phase that they do not see, and calibration."""

import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.mri import metrics


@pytest.fixture
def volume():
    g = torch.Generator().manual_seed(0)
    reference = torch.rand(3, 24, 20, generator=g) + 0.1
    return reference + 0.05 * torch.randn(3, 24, 20, generator=g), reference


def test_against_fastmri(volume):
    """The package's own evaluation, where it is installed."""
    evaluate = pytest.importorskip("fastmri.evaluate")
    image, reference = (part.abs() for part in volume)
    x, r = image.numpy().astype(np.float64), reference.numpy().astype(np.float64)
    assert metrics.nmse(image, reference) == pytest.approx(float(evaluate.nmse(r, x)), rel=1e-5)
    assert metrics.psnr(image, reference) == pytest.approx(float(evaluate.psnr(r, x)), rel=1e-5)
    assert metrics.ssim(image, reference) == pytest.approx(float(evaluate.ssim(r, x).item()), rel=1e-4)


def test_only_the_phase_error_sees_the_phase(volume):
    reference = volume[1]
    ramp = torch.polar(torch.ones(20), torch.linspace(-0.3, 0.3, 20))
    turned = reference * ramp
    assert metrics.nmse(turned, reference) < 1e-12
    assert metrics.psnr(turned, reference) > 100
    expected = float(torch.linspace(-0.3, 0.3, 20).square().mean().sqrt())
    assert metrics.phase_error(turned, reference + 0j, level=0.0) == pytest.approx(expected, rel=0.1)
    assert metrics.phase_error(reference * torch.exp(torch.tensor(2j)), reference + 0j) < 1e-3


def test_the_range_is_the_volume_s(volume):
    """A slice twenty times darker is judged by the brightest of the volume."""
    image, reference = volume
    image, reference = image.clone(), reference.clone()
    image[0], reference[0] = image[0] / 20, reference[0] / 20
    assert metrics.ssim(image, reference) > metrics.ssim(image[:1], reference[:1])


def test_a_calibrated_std_covers():
    g = torch.Generator().manual_seed(1)
    std = torch.rand(200, 100, generator=g) + 0.1
    error = std * torch.randn(200, 100, generator=g, dtype=torch.complex64)
    pairs = metrics.coverage(error, std, bins=5)
    assert [s for s, _ in pairs] == sorted(s for s, _ in pairs)
    assert all(abs(e / s - 1) < 0.05 for s, e in pairs)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: metrics.psnr(torch.ones(2, 4, 4), torch.ones(4, 4)), "of one shape"),
        (lambda: metrics.nmse(torch.ones(1, 4, 4), torch.zeros(1, 4, 4)), "a reference with signal"),
        (lambda: metrics.phase_error(torch.ones(1, 4, 4), torch.ones(1, 4, 4)), "complex images"),
        (lambda: metrics.coverage(torch.ones(3), torch.ones(4)), "of one shape with at least"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, says):
    with pytest.raises(UsageError, match=says):
        call()
