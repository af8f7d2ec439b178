"""Pronouncers that are not installed, or do not start, say what to do."""

import sys
from types import ModuleType

import pytest

from fewstep.audio.text import backends
from fewstep.audio.text.frontend import phonemize


@pytest.fixture(autouse=True)
def fresh_espeak():
    backends._espeak.cache_clear()
    yield
    backends._espeak.cache_clear()


def fake_phonemizer(monkeypatch, backend):
    modules = {name: ModuleType(name) for name in ("phonemizer", "phonemizer.backend", "phonemizer.backend.espeak")}
    wrapper = ModuleType("phonemizer.backend.espeak.wrapper")
    wrapper.EspeakWrapper = object
    modules["phonemizer.backend"].EspeakBackend = backend
    for name, module in {**modules, wrapper.__name__: wrapper, "espeakng_loader": None}.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("backend, module", [("espeak", "phonemizer.backend"), ("gruut", "gruut")])
def test_a_missing_program_is_named_with_its_command(monkeypatch, backend, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ValueError, match=rf"{backend} backend is not installed; run: pip install 'fewstep\[{backend}\]'"
    ):
        phonemize("hello", backend=backend)


def test_espeak_that_does_not_start_is_explained(monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("espeak not installed on your system")

    fake_phonemizer(monkeypatch, broken)
    with pytest.raises(ValueError, match=r"espeak-ng does not start \(espeak not installed"):
        phonemize("hello", backend="espeak")


def test_every_lower_case_word_is_asked_for_once_and_letters_are_not(monkeypatch):
    asked = []

    class Espeak:
        def __init__(self, language, with_stress):
            assert (language, with_stress) == ("en-us", True)

        def phonemize(self, words, strip):
            asked.extend(words)
            return ["sˈeɪ" for _ in words]

    fake_phonemizer(monkeypatch, Espeak)
    phones = phonemize("the FBI and the dog", backend="espeak")
    assert asked == ["the", "and", "dog"]
    assert " ".join(phones.tokens[:9]) == "^ S EY1   EH1 F   B IY1"


def test_gruut_gives_the_phones_of_all_its_sentences(monkeypatch):
    class Part:
        def __init__(self, phonemes):
            self.phonemes = phonemes

    module = ModuleType("gruut")
    module.sentences = lambda text, lang: [[Part(["h", "ˈaɪ"]), Part(None)]]
    monkeypatch.setitem(sys.modules, "gruut", module)
    assert backends.gruut(["hi"]) == [("HH", "AY1")]
