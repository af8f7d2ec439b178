import io
import json
import os
import sys

import numpy as np
import pytest
import soundfile

from fewstep.audio.enhance.cli import enhance


@pytest.fixture
def run(folder, in_folder):
    return lambda *args: enhance([*map(str, args), "--model", str(folder)])


def test_a_file(run, wav, in_folder, capsys):
    wav("in.wav", 1.5)
    assert run("in.wav", "-o", "new/out.wav") == 0
    info = soundfile.info(in_folder / "new" / "out.wav")
    assert (info.samplerate, info.channels, info.frames) == (8000, 1, 12000)
    said = capsys.readouterr().out
    assert "3 network calls" in said
    assert "real-time factor" in said
    assert [f.name for f in (in_folder / "new").iterdir()] == ["out.wav"]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 192000])
@pytest.mark.parametrize("keep", [False, True])
def test_any_rate(run, wav, in_folder, rate, keep):
    wav("in.wav", 0.6, rate, channels=2)
    assert run("in.wav", "-o", "out.wav", *(["--keep-rate"] if keep else [])) == 0
    info = soundfile.info(in_folder / "out.wav")
    assert (info.samplerate, info.channels) == (rate if keep else 8000, 2)
    assert abs(info.frames - 0.6 * info.samplerate) <= 1


def test_the_band_above_is_kept(run, in_folder):
    t = np.arange(48000) / 48000
    tone = 0.1 * np.sin(2 * np.pi * 12000 * t)  # above the model's 4 kHz
    soundfile.write("in.wav", tone, 48000, subtype="FLOAT")
    assert run("in.wav", "-o", "out.wav", "--keep-rate") == 0
    out, rate = soundfile.read("out.wav")
    assert rate == 48000
    loud = np.abs(np.fft.rfft(out - tone))[5000:] / len(tone)
    assert loud.max() < 1e-5


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_strength_zero_changes_nothing(run, in_folder, noise, rate):
    soundfile.write("in.wav", noise(1, rate).T, rate, subtype="FLOAT")
    assert run("in.wav", "-o", "out.wav", "--strength", 0, "--keep-rate") == 0
    before, after = soundfile.read("in.wav")[0], soundfile.read("out.wav")[0]
    np.testing.assert_allclose(after, before - before.mean(), atol=2e-4)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_formats(run, wav, in_folder, suffix):
    wav(f"in.{suffix}", 1.0, 16000, 2)
    assert run(f"in.{suffix}", "-o", f"out.{suffix}") == 0
    assert soundfile.info(in_folder / f"out.{suffix}").channels == 2


def test_more_than_stereo(run, wav, in_folder):
    wav("in.wav", 0.5, 8000, channels=5)
    assert run("in.wav", "-o", "out.wav") == 0
    assert soundfile.info("out.wav").channels == 5


def test_a_folder_is_resumed_and_other_files_are_passed_over(run, wav, in_folder, capsys):
    wav("in/a.wav")
    wav("in/deep/b.flac")
    (in_folder / "in" / "notes.txt").write_text("no sound")
    assert run("in", "-o", "out") == 0
    assert "notes.txt: no recording by its name" in capsys.readouterr().err
    made = [in_folder / "out" / "a.wav", in_folder / "out" / "deep" / "b.flac"]
    assert all(file.is_file() for file in made)
    stamps = [file.stat().st_mtime_ns for file in made]
    os.utime(made[0], ns=(1, 1))  # older than its input
    assert run("in", "-o", "out", "--json") == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [fact["status"] for fact in facts] == ["done", "skipped"]
    assert made[1].stat().st_mtime_ns == stamps[1]


def test_one_bad_file_does_not_stop_the_others(run, wav, in_folder, capsys):
    wav("in/a.wav")
    wav("in/c.wav")
    (in_folder / "in" / "b.wav").write_bytes(b"RIFF" + bytes(100))
    assert run("in", "-o", "out", "--json") == 1
    out, err = capsys.readouterr()
    assert "b.wav: cannot be read as audio" in err
    assert "1 of 3 recordings failed" in err
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["done", "failed", "done"]
    assert sorted(f.name for f in (in_folder / "out").iterdir()) == ["a.wav", "c.wav"]


def test_an_output_inside_the_input_is_not_enhanced_again(run, wav, in_folder):
    wav("in/a.wav")
    assert run("in", "-o", "in/clean") == 0
    assert run("in", "-o", "in/clean", "--no-resume") == 0
    assert [f.name for f in (in_folder / "in" / "clean").iterdir()] == ["a.wav"]


def test_standard_streams(run, wav, in_folder, monkeypatch, capsysbinary):
    content = wav("in.wav", 0.5).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run("-", "-o", "-") == 0
    out, err = capsysbinary.readouterr()
    assert soundfile.read(io.BytesIO(out))[0].shape == (4000,)
    assert b"real-time factor" in err


def test_the_input_is_never_overwritten(run, wav, in_folder):
    before = wav("in.wav").read_bytes()
    with pytest.raises(ValueError, match="is the input itself"):
        run("in.wav", "-o", "in.wav")
    wav("in/a.wav")
    with pytest.raises(ValueError, match="is the input itself"):
        run("in", "-o", "in")
    (in_folder / "link.wav").symlink_to(in_folder / "in.wav")
    with pytest.raises(ValueError, match="is the input itself"):
        run("in.wav", "-o", "link.wav")
    assert (in_folder / "in.wav").read_bytes() == before


def test_silence_stays_silent(run, in_folder):
    soundfile.write("in.wav", np.zeros(8000), 8000)
    assert run("in.wav", "-o", "out.wav") == 0
    assert not soundfile.read("out.wav")[0].any()


def test_clipping_and_offset_give_finite_audio_within_full_scale(run, noise, in_folder):
    soundfile.write("in.wav", np.clip(30 * noise(1), -1, 1).T * 0.4 + 0.5, 8000, subtype="FLOAT")
    assert run("in.wav", "-o", "out.wav") == 0
    out = soundfile.read("out.wav")[0]
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1


def not_a_number(file, noise):
    wav = noise(1)
    wav[0, 5000] = np.nan
    soundfile.write(file, wav.T, 8000, subtype="FLOAT")


def empty(file, noise):
    soundfile.write(file, np.zeros((0, 1)), 8000)


def cut_off(file, noise):
    soundfile.write(file, noise(1).T, 8000)
    file.write_bytes(file.read_bytes()[:9000])


@pytest.mark.parametrize(
    "make, message",
    [
        (not_a_number, "NaN or infinite"),
        (empty, "holds no samples"),
        (cut_off, "truncated"),
        (lambda file, noise: file.write_bytes(b""), "is empty"),
        (lambda file, noise: file.write_bytes(b"RIFF\x24\0\0\0WAVEfmt " + bytes(40)), "cannot be read as audio"),
        (lambda file, noise: file.write_bytes(bytes(4) + b"ftypisom" + bytes(200)), "video container .MP4."),
        (lambda file, noise: file.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(200)), "video container .Matroska"),
        (lambda file, noise: None, "no such"),
    ],
)
def test_bad_input(run, in_folder, noise, make, message):
    make(in_folder / "in.wav", noise)
    with pytest.raises(ValueError, match=message):
        run("in.wav", "-o", "out.wav")
    assert not (in_folder / "out.wav").exists()
    assert not [f for f in in_folder.iterdir() if f.name.endswith(".part")]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--strength", "1.5"], "--strength is a number from 0 to 1"),
        (["--steps", "-1"], "--steps is a whole number"),
        (["--seed", "-1"], "--seed is at least 0"),
        (["--chunk", "0"], "--chunk is at least 0.5"),
        (["--threads", "0"], "--threads is at least 1"),
        (["--device", "toaster"], "--device toaster cannot be used"),
    ],
)
def test_bad_options(run, wav, arguments, message):
    wav("in.wav")
    with pytest.raises(ValueError, match=message):
        run("in.wav", "-o", "out.wav", *arguments)


def test_outputs_that_do_not_fit(run, wav, in_folder):
    wav("in.wav", channels=3)
    wav("b/in.wav")
    with pytest.raises(ValueError, match="would both become"):
        run("in.wav", "b/in.wav", "-o", "out")
    with pytest.raises(ValueError, match="is for one recording"):
        run("in.wav", "b/in.wav", "-o", "-")
    with pytest.raises(ValueError, match="is a file: -o wants a folder"):
        run("b", "-o", "in.wav")
    with pytest.raises(ValueError, match="standard input needs"):
        run("-", "-o", "folder")
    with pytest.raises(ValueError, match="at most 2 channels"):
        run("in.wav", "-o", "out.mp3")
    with pytest.raises(ValueError, match="--format is one of"):
        run("b", "-o", "out", "--format", "mp4")
    (in_folder / "none").mkdir()
    with pytest.raises(ValueError, match="no recording"):
        run("none", "-o", "out")
    with pytest.raises(ValueError, match="expected a model of kind|is called"):
        enhance(["in.wav", "-o", "out.wav", "--model", "kathleen-prodiff"])
