import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewstep.audio.data.features import read_metadata
from fewstep.audio.io import read_audio
from fewstep.audio.mel import MelSpec
from fewstep.audio.metrics import (
    ClosedVocabularyRecogniser,
    mel_cepstral_distortion,
    spoken_words,
    variance_loss,
    word_errors,
)

SPEC = MelSpec()
WORDS = st.lists(st.sampled_from("abc"), max_size=6)


@pytest.mark.parametrize(
    ("heard", "said", "errors"),
    [("a b c", "a b c", 0), ("a x c", "a b c", 1), ("a c", "a b c", 1), ("a b b c", "a b c", 1), ("", "a b", 2)],
)
def test_word_errors(heard, said, errors):
    assert word_errors(heard.split(), said.split()) == errors


@given(WORDS, WORDS, WORDS)
def test_word_errors_are_a_distance(a, b, c):
    assert word_errors(a, b) == word_errors(b, a)
    assert (word_errors(a, b) == 0) == (a == b)
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)


def test_distortion_sees_the_spectrum_and_not_the_tempo(recordings):
    wav = read_audio(read_metadata(recordings)[0][0].file, SPEC.sample_rate)[0][0]
    generator = torch.Generator().manual_seed(0)
    noisy = wav + 0.01 * torch.randn(wav.shape, generator=generator)
    noisier = wav + 0.1 * torch.randn(wav.shape, generator=generator)
    same, near, far = (mel_cepstral_distortion(w, wav, SPEC) for w in (wav, noisy, noisier))
    assert same == pytest.approx(0, abs=1e-9)
    assert 0.5 < near < far
    louder = mel_cepstral_distortion(0.5 * wav, wav, SPEC)
    assert louder < 0.3 * near  # the level is in c0, which is left out
    paused = torch.cat([wav[: len(wav) // 2], wav[len(wav) // 2 :].clone().roll(0)])
    assert mel_cepstral_distortion(paused, wav, SPEC) == pytest.approx(0, abs=1e-9)


def test_variance_loss_sees_smoothing_and_not_level_or_tempo(recordings):
    wav = read_audio(read_metadata(recordings)[0][0].file, SPEC.sample_rate)[0][0]
    assert variance_loss(wav, wav, SPEC) == pytest.approx(0, abs=1e-9)
    assert abs(variance_loss(0.5 * wav, wav, SPEC)) < 0.3
    envelope = torch.nn.functional.avg_pool1d(wav[None].abs(), 4001, 1, 2000)[0]
    generator = torch.Generator().manual_seed(0)
    blurred = torch.randn(wav.shape, generator=generator) * envelope  # the same level, one spectrum all along
    assert variance_loss(blurred, wav, SPEC) > 3
    assert variance_loss(wav, blurred, SPEC) == pytest.approx(-variance_loss(blurred, wav, SPEC), abs=1e-9)


def test_the_recogniser_understands_the_recordings(recordings):
    items = read_metadata(recordings)[0]
    judge = ClosedVocabularyRecogniser([i.text for i in items])
    errors = total = 0
    for item in items:
        wav, rate = read_audio(item.file)
        said = spoken_words(item.text)
        errors += word_errors(judge(wav[0], rate), said)
        total += len(said)
    assert errors / total < 0.35
    assert judge(torch.zeros(16000), 16000) != spoken_words(items[0].text)
