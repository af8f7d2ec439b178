import numpy as np
import pytest
import soundfile

from fewstep.audio.data.features import (
    LOUDNESS_DB,
    cache_folder,
    extract_all,
    normalise_loudness,
    read_metadata,
)
from fewstep.audio.data.split import split_by_phrase
from fewstep.audio.mel import MelSpec

SPEC = MelSpec()


def tone(file, seconds=1.0, rate=16000):
    time = np.arange(int(seconds * rate)) / rate
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * 200 * time), rate)


@pytest.fixture
def folder(tmp_path):
    audio = tmp_path / "wavs"
    audio.mkdir()
    for name in ("a", "b", "lonely", "short"):
        tone(audio / f"{name}.wav", 0.1 if name == "short" else 1.0)
    (audio / "broken.wav").write_bytes(b"nothing")
    lines = ["a|One two.", "b|Raw 2.|Normalised two.", "gone|No recording.", "no bar", "a|Again.", "short|Too short."]
    lines += ["broken|Not audio.", "", "empty|"]
    (tmp_path / "metadata.csv").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe|bad bytes\n")
    return tmp_path


def test_every_bad_line_and_file_is_named(folder):
    items, skipped = read_metadata(folder)
    assert [(i.name, i.text) for i in items] == [
        ("a", "One two."), ("b", "Normalised two."), ("short", "Too short."), ("broken", "Not audio."),
    ]  # fmt: skip
    reasons = {s.name: s.reason for s in skipped}
    assert "no recording" in reasons["gone"]
    assert "not 'id|text'" in reasons["no bar"]
    assert "not 'id|text'" in reasons["empty"]
    assert "repeats" in reasons["a"]
    assert "no transcript" in reasons["lonely"]
    assert any("UTF-8" in reason for reason in reasons.values())


def test_bad_recordings_are_skipped_and_the_rest_is_kept(folder):
    items, _ = read_metadata(folder)
    cache = cache_folder(folder / "cache", folder, SPEC)
    skipped = extract_all(items, SPEC, cache, progress=False)
    assert {s.name: s.reason.split(":")[-1] for s in skipped}.keys() == {"short", "broken"}
    assert "shorter than 0.2 s" in next(s.reason for s in skipped if s.name == "short")
    assert sorted(f.name for f in cache.iterdir()) == ["a.audio.npz", "b.audio.npz"]


def test_preparation_resumes(folder):
    items = read_metadata(folder)[0][:2]
    cache = cache_folder(folder / "cache", folder, SPEC)
    extract_all(items[:1], SPEC, cache, progress=False)
    stamp = (cache / "a.audio.npz").stat().st_mtime_ns
    extract_all(items, SPEC, cache, progress=False)
    assert (cache / "a.audio.npz").stat().st_mtime_ns == stamp
    assert (cache / "b.audio.npz").exists()


def test_pitch_of_a_tone(folder):
    items = read_metadata(folder)[0][:1]
    cache = cache_folder(folder / "cache", folder, SPEC)
    extract_all(items, SPEC, cache, progress=False)
    f0 = np.load(cache / "a.audio.npz")["f0"]
    assert np.median(f0[f0 > 0]) == pytest.approx(200, rel=0.03)


def test_caches_of_other_spectrograms_are_apart(tmp_path):
    assert cache_folder("c", tmp_path, SPEC) != cache_folder("c", tmp_path, MelSpec(hop=200))


def test_loudness():
    rng = np.random.default_rng(0)
    speech = np.concatenate([rng.standard_normal(22050) * 0.01, np.zeros(22050)])
    loud = normalise_loudness(speech)[:22050]
    assert 20 * np.log10(loud.std()) == pytest.approx(LOUDNESS_DB, abs=0.2)
    click = np.zeros(22050)
    click[::2000] = 0.5
    assert np.abs(normalise_loudness(click)).max() <= 0.99 + 1e-9
    with pytest.raises(ValueError, match="only silence"):
        normalise_loudness(np.zeros(1000))


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metadata.csv"):
        read_metadata(tmp_path)


def test_nothing_usable(tmp_path):
    (tmp_path / "metadata.csv").write_text("x|no recording\n")
    with pytest.raises(ValueError, match="no usable line"):
        read_metadata(tmp_path)


def test_takes_of_a_phrase_stay_together(recordings):
    items = read_metadata(recordings)[0]
    doubled = items + [type(i)(i.name + "_take2", i.text.upper(), i.file) for i in items]
    split = split_by_phrase(doubled, test=1, validation=1)
    sides = [{i.text.lower() for i in side} for side in (split.train, split.validation, split.test)]
    assert [len(s) for s in sides] == [2, 1, 1]
    assert not (sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2])
    assert max(i.name for i in items) in {i.name for i in split.test}


def test_too_few_phrases(recordings):
    with pytest.raises(ValueError, match="cannot spare 3 for test"):
        split_by_phrase(read_metadata(recordings)[0], test=3, validation=1)
