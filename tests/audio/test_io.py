import numpy as np
import pytest
import soundfile
import torch

from fewstep.audio.io import read_audio, write_wav


def test_what_is_written_comes_back(tmp_path):
    wav = torch.linspace(-0.9, 0.9, 1000)[None]
    write_wav(tmp_path / "a.wav", wav, 22050)
    back, rate = read_audio(tmp_path / "a.wav")
    assert rate == 22050
    torch.testing.assert_close(back, wav, atol=1 / 32768, rtol=0)
    assert [f.name for f in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(("suffix", "rate", "channels"), [(".flac", 48000, 2), (".ogg", 8000, 1), (".wav", 11025, 3)])
def test_any_rate_format_and_channels(tmp_path, suffix, rate, channels):
    time = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 220 * time)[:, None].repeat(channels, axis=1)
    soundfile.write(tmp_path / f"a{suffix}", tone, rate)
    wav, new_rate = read_audio(tmp_path / f"a{suffix}", 22050)
    assert (wav.shape[0], new_rate) == (1, 22050)
    assert abs(wav.shape[1] - 22050) <= 2
    spectrum = torch.fft.rfft(wav[0, :22050]).abs()
    assert spectrum.argmax().item() == pytest.approx(220, abs=1)


def test_loud_audio_is_clipped(tmp_path):
    write_wav(tmp_path / "a.wav", torch.full((10,), 3.0), 8000)
    assert read_audio(tmp_path / "a.wav")[0].max() <= 1.0


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such audio file"):
        read_audio(tmp_path / "none.wav")


def test_not_audio(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF not audio at all")
    with pytest.raises(ValueError, match="cannot be read as audio"):
        read_audio(tmp_path / "a.wav")


def test_empty(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000)
    with pytest.raises(ValueError, match="holds no samples"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_truncated(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    soundfile.write(file, np.random.default_rng(0).standard_normal(48000) * 0.1, 48000)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="truncated|cannot be read as audio"):
        read_audio(file)


def test_nan(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.1], np.float32), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_audio(tmp_path / "a.wav")


def test_nan_is_not_written_and_the_old_file_stays(tmp_path):
    write_wav(tmp_path / "a.wav", torch.zeros(10), 8000)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(ValueError, match="refusing to write"):
        write_wav(tmp_path / "a.wav", torch.tensor([float("nan")]), 8000)
    assert (tmp_path / "a.wav").read_bytes() == before
