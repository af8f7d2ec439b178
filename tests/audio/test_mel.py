import math

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewstep.audio.mel import MelSpec, mel_spectrogram, mel_to_magnitude

SPEC = MelSpec()


@given(st.integers(1, 40), st.integers(0, 255))
def test_every_hop_of_samples_is_one_frame(frames, extra):
    wav = torch.zeros(2, (frames + 2) * SPEC.hop + extra)
    assert mel_spectrogram(wav, SPEC).shape == (2, SPEC.n_mels, frames + 2)


def test_against_librosa():
    wav = np.random.default_rng(0).standard_normal(256 * 40).astype(np.float32) * 0.1
    ours = mel_spectrogram(torch.from_numpy(wav), SPEC).exp().numpy()
    padded = np.pad(wav, (SPEC.n_fft - SPEC.hop) // 2, mode="reflect")
    theirs = librosa.feature.melspectrogram(
        y=padded, sr=SPEC.sample_rate, n_fft=SPEC.n_fft, hop_length=SPEC.hop, center=False, power=1.0,
        n_mels=SPEC.n_mels, fmin=SPEC.f_min, fmax=SPEC.f_max,
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


def test_log10_is_ln_in_other_units():
    wav = torch.randn(256 * 8, generator=torch.Generator().manual_seed(0))
    ln, log10 = mel_spectrogram(wav, SPEC), mel_spectrogram(wav, MelSpec(log="log10"))
    torch.testing.assert_close(ln, log10 * math.log(10))


def test_silence_is_the_floor():
    assert mel_spectrogram(torch.zeros(2048), MelSpec(floor=0.01)).exp().max() == pytest.approx(0.01)


def test_magnitude_comes_back_from_the_mel():
    time = torch.arange(256 * 16) / SPEC.sample_rate
    wav = torch.sin(2 * math.pi * 440 * time)
    magnitude = mel_to_magnitude(mel_spectrogram(wav, SPEC), SPEC)[:, 8]
    assert magnitude.argmax().item() == pytest.approx(440 * SPEC.n_fft / SPEC.sample_rate, abs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 0}, "positive sizes"),
        ({"win": 2048}, "win <= n_fft"),
        ({"f_max": 20000.0}, "sample_rate / 2"),
        ({"log": "log2"}, "'ln' or 'log10'"),
    ],
)
def test_impossible_specs_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        MelSpec(**change)


def test_audio_shorter_than_the_padding_is_refused():
    with pytest.raises(ValueError, match="too short: more than 384"):
        mel_spectrogram(torch.zeros(384), SPEC)


def test_filters_that_were_first_needed_without_gradients_serve_with_them():
    spec = MelSpec(n_mels=17)  # a spec of this test's own: filters are kept
    with torch.inference_mode():
        mel_spectrogram(torch.ones(1, 4000), spec)
    wav = torch.linspace(-1, 1, 4000)[None].requires_grad_()
    mel_spectrogram(wav, spec).sum().backward()
    assert torch.isfinite(wav.grad).all()
