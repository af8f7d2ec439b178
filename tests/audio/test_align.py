import numpy as np
import pytest

from fewstep.audio.data.align import align, align_all, is_aligned
from fewstep.audio.data.features import Item, cache_folder, extract_all, read_metadata
from fewstep.audio.io import read_audio
from fewstep.audio.mel import MelSpec
from fewstep.audio.text.frontend import phonemize
from fewstep.audio.text.symbols import INDEX, PHONES, SYMBOLS

SPEC = MelSpec()


def load(item):
    return read_audio(item.file, SPEC.sample_rate)[0][0].numpy()


def test_durations_add_up_and_every_phone_is_heard(recordings):
    for item in read_metadata(recordings)[0]:
        wav = load(item)
        tokens, durations = align(wav, item.text, SPEC)
        assert durations.sum() == len(wav) // SPEC.hop
        assert durations.min() >= 0
        phones = [d for t, d in zip(tokens, durations, strict=True) if SYMBOLS[t] in PHONES]
        assert min(phones) >= 1
        # the aligner may choose another variant of a word, but not other words
        said = phonemize(item.text).tokens
        assert abs(len(tokens) - len(said)) <= 3


def test_inserted_silence_is_found_where_it_is(recordings):
    """Half a second of silence in front moves the first word and nothing else."""
    item = read_metadata(recordings)[0][2]
    wav = load(item)
    _, durations = align(wav, item.text, SPEC)
    quiet = np.random.default_rng(1).standard_normal(43 * SPEC.hop).astype(np.float32) * 1e-4
    tokens, shifted = align(np.concatenate([quiet, wav]), item.text, SPEC)
    assert SYMBOLS[tokens[0]] == "^"
    assert abs(int(shifted[0]) - 43 - int(durations[0])) <= 4
    assert np.median(np.abs(shifted[1:-1] - durations[1:-1])) <= 1


def test_another_text_does_not_fit(recordings):
    item = read_metadata(recordings)[0][2]
    long = "the quick brown fox jumps over the lazy dog " * 12
    with pytest.raises(ValueError, match="does not fit"):
        align(load(item), long, SPEC)


def test_alignment_is_cached_per_transcript(recordings, tmp_path):
    items = read_metadata(recordings)[0][:1]
    cache = cache_folder(tmp_path, recordings, SPEC)
    extract_all(items, SPEC, cache, progress=False)
    assert align_all(items, SPEC, cache, progress=False) == []
    assert is_aligned(items[0], cache)
    assert not is_aligned(Item(items[0].name, "Other words.", items[0].file), cache)
    stored = np.load(cache / f"{items[0].name}.align.npz")
    assert stored["tokens"][0] == INDEX["^"]


def test_failures_are_named(recordings, tmp_path):
    item = read_metadata(recordings)[0][0]
    wrong = Item(item.name, "... !!!", item.file)
    cache = cache_folder(tmp_path, recordings, SPEC)
    extract_all([wrong], SPEC, cache, progress=False)
    (skipped,) = align_all([wrong], SPEC, cache, progress=False)
    assert skipped.name == item.name
    assert "nothing to say" in skipped.reason
