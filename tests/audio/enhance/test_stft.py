import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewstep.audio.enhance.stft import Spectrum


@given(st.integers(1, 4000), st.sampled_from([0.5, 0.667, 1.0]), st.sampled_from([0.15, 0.33]))
def test_the_transform_is_invertible(samples, exponent, factor):
    wav = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples), dtype=torch.float64)
    spectrum = Spectrum(exponent=exponent, factor=factor)
    coefficients = spectrum.forward(wav)
    assert coefficients.shape == (2, 256, spectrum.frames(samples))
    torch.testing.assert_close(spectrum.inverse(coefficients, samples), wav, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pad", ["constant", "reflect"])
def test_against_torch(pad):
    wav = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    window = torch.hann_window(510, dtype=torch.float64)
    plain = torch.stft(wav, 510, 128, window=window, center=True, pad_mode=pad, return_complex=True)
    expected = 0.15 * plain.abs().sqrt() * torch.exp(1j * plain.angle())
    torch.testing.assert_close(Spectrum(pad=pad).forward(wav), expected, atol=1e-9, rtol=1e-9)


def test_compression_of_zero_has_a_finite_gradient():
    zero = torch.zeros(1, 1, 1, dtype=torch.complex64, requires_grad=True)
    Spectrum().compress(zero).abs().square().sum().backward()
    assert torch.isfinite(torch.view_as_real(zero.grad)).all()


@pytest.mark.parametrize(
    "options", [{"n_fft": 511}, {"hop": 0}, {"hop": 300}, {"exponent": 0.0}, {"factor": 0.0}, {"pad": "wrap"}]
)
def test_bad_numbers_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        Spectrum(**options)


def test_too_short_to_reflect():
    with pytest.raises(ValueError, match="more than 255 samples to reflect, got 100"):
        Spectrum(pad="reflect").forward(torch.zeros(1, 100))
