"""The wavelet transform is orthonormal, the shrinkage a proximal step, and unknown wavelets are refused."""

import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.mri.methods.wavelet import analysed, shrunk, synthesised


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym6"])
@pytest.mark.parametrize("levels", [1, 3])
def test_the_transform_is_orthonormal(wavelet, levels):
    """Inverse and adjoint are the same; also where the filter is longer than the image."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2, 16, 24, dtype=torch.float64, generator=g)
    low, details = analysed(x, wavelet, levels)
    torch.testing.assert_close(synthesised(low, details, wavelet), x, rtol=1e-10, atol=1e-10)
    energy = low.square().sum() + sum(d.square().sum() for d in details)
    torch.testing.assert_close(energy, x.square().sum(), rtol=1e-10, atol=0)


def test_shrinking_by_nothing_is_the_identity_and_never_expands():
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 1, 19, 30, dtype=torch.complex64, generator=g)
    torch.testing.assert_close(shrunk(x, 0.0, wavelet="db4", levels=2), x, rtol=1e-4, atol=1e-5)
    near = shrunk(x, 0.3, wavelet="db4", levels=2) - shrunk(y, 0.3, wavelet="db4", levels=2)
    assert float(near.abs().square().sum()) <= float((x - y).abs().square().sum())


@pytest.mark.parametrize(
    "wavelet, says", [("nothing", "a wavelet of PyWavelets"), ("bior2.2", "an orthogonal wavelet")]
)
def test_wavelets_that_are_none_are_refused(wavelet, says):
    with pytest.raises(UsageError, match=says):
        shrunk(torch.ones(1, 8, 8, dtype=torch.complex64), 0.1, wavelet=wavelet, levels=1)
