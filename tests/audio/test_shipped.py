"""What ships is what the cards say, and it can be understood."""

from pathlib import Path

import pytest

from fewstep.audio import TextToSpeech
from fewstep.audio.metrics import ClosedVocabularyRecogniser, spoken_words, word_errors
from fewstep.benchmarks.tts import phrase_list
from fewstep.core import checkpoint, hub
from fewstep.core.cli import main

NAMES = ("kathleen-prodiff", "kathleen-prodiff-teacher", "vocos-small")


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_small_whole_and_described(name):
    folder = hub.resolve(name)
    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 12_000_000
    digest = checkpoint.sha256(weights)
    assert hub.read_config(folder)["sha256"] == digest
    card = hub.card(name)
    for fact in ("CC0", "fewstep fit", "steps", "seed", "held-out", digest):
        assert fact in card, f"the card of {name} does not tell {fact!r}"


def test_all_names_ship():
    assert set(NAMES) <= {name for name, _ in hub.shipped()}


def test_the_student_is_understood_in_two_calls_and_in_one():
    voice = TextToSpeech.load()
    phrases = phrase_list()[:5]
    judge = ClosedVocabularyRecogniser(phrases)
    for steps in (None, 1):
        errors = total = 0
        for phrase in phrases:
            speech = voice(phrase, steps=steps)
            assert speech.nfe == (steps or 2)
            said = spoken_words(phrase)
            errors += word_errors(judge(speech.wav[0], speech.sample_rate), said)
            total += len(said)
        assert errors / total < 0.25


def test_the_fallback_vocoder_is_understood():
    voice = TextToSpeech.load(vocoder="griffin-lim")
    phrase = phrase_list()[0]
    speech = voice(phrase)
    judge = ClosedVocabularyRecogniser(phrase_list()[:5])
    said = spoken_words(phrase)
    assert word_errors(judge(speech.wav[0], speech.sample_rate), said) / len(said) < 0.4


def test_demo(tmp_path: Path, capsys):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "hello.wav").stat().st_size > 50_000
    assert (tmp_path / "hello.png").read_bytes().startswith(b"\x89PNG")
    assert "network calls 2" in capsys.readouterr().out
