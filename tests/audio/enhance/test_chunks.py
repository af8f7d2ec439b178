import numpy as np
import pytest
import torch

from fewstep.audio.enhance.api import Enhancer
from fewstep.audio.enhance.chunks import enhance_stream
from fewstep.audio.enhance.generate import Placed
from fewstep.audio.enhance.stft import Spectrum
from fewstep.core import paths
from tests.audio.enhance.conftest import tiny_model


def decibels(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(10 * torch.log10((a - b).square().sum() / b.square().sum() + 1e-30))


@pytest.mark.parametrize("path", [paths.sb_ve(2.6, 0.01), paths.ou()])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_pieces_join_into_the_whole(path, steps, noise):
    enhancer = Enhancer(tiny_model(), path, steps=steps)
    wav = noise(7.3, channels=2)
    whole = enhancer(wav, 8000, chunk_seconds=100).wav
    pieces = enhancer(wav, 8000, chunk_seconds=0.5).wav
    assert pieces.shape == whole.shape
    assert decibels(pieces, whole) < -90


def test_blocks_of_any_size_give_the_same(noise):
    wav, spectrum = noise(1.0), Spectrum(sample_rate=8000, n_fft=62, hop=16)

    def run(size):
        blocks = (wav[:, i : i + size] for i in range(0, wav.shape[1], size))
        return torch.cat(list(enhance_stream(blocks, lambda y, first: 0.5 * y, spectrum, frames=20, margin=3)), 1)

    assert torch.equal(run(17), run(8000))
    assert run(17).shape == wav.shape


def test_an_identity_gives_the_recording_back(noise):
    wav, spectrum = noise(1.0, channels=3), Spectrum(sample_rate=8000, n_fft=62, hop=16)
    out = torch.cat(list(enhance_stream([wav], lambda y, first: y, spectrum, frames=50, margin=0)), 1)
    np.testing.assert_allclose(out.numpy(), wav, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 15, 16, 62, 63, 640])
def test_short_recordings_keep_their_length(samples, enhancer, noise):
    assert enhancer(noise(samples / 8000), 8000).wav.shape == (1, samples)


def test_channels_keep_their_relation(enhancer, noise):
    mono = noise(1.0)
    out = enhancer(0.3 * np.concatenate([mono, -0.5 * mono]), 8000).wav  # far from full scale
    torch.testing.assert_close(out[1], -0.5 * out[0], atol=1e-5, rtol=1e-3)


def test_equal_channels_become_what_one_becomes(enhancer, noise):
    mono = noise(1.0)
    both = enhancer(np.concatenate([mono, mono]), 8000).wav
    torch.testing.assert_close(both[:1], enhancer(mono, 8000).wav, atol=1e-5, rtol=1e-3)


def test_noise_knows_its_place():
    long = Placed(7, 0).draw(4, 500, 2)
    torch.testing.assert_close(Placed(7, 130).draw(4, 100, 2), long[:, 130:230], atol=0, rtol=0)
    assert not torch.equal(Placed(8, 0).draw(4, 500, 2), long)
    assert not torch.equal(Placed(7, 0).draw(4, 500, 3), long)
    assert abs(float(long.abs().square().mean()) - 1) < 0.1


def test_audio_that_is_none(enhancer, noise):
    with pytest.raises(ValueError, match="is it the transpose"):
        enhancer(noise(1.0, channels=2).T, 8000)
    with pytest.raises(ValueError, match="at least one sample"):
        enhancer(torch.zeros(1, 0), 8000)
    with pytest.raises(ValueError, match="NaN or infinite"):
        enhancer(torch.full((100,), float("nan")), 8000)
