"""Other programs that pronounce words: espeak (GPL) and gruut (MIT), each the user's own installation.

They see one normalised word at a time, so the tokens keep the same words and separators whoever pronounces them.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from fewstep.core.errors import UsageError

from .ipa import ipa_to_arpabet
from .lexicon import Pronunciation


def espeak(words: Sequence[str]) -> list[Pronunciation]:
    """Pronounce words with espeak-ng through `phonemizer`.

    Parameters
    ----------
    words : sequence of str
        Lower-case words.

    Returns
    -------
    list of tuple of str
        ARPAbet phones of each word; empty where espeak says nothing.

    Raises
    ------
    UsageError
        `phonemizer` or espeak-ng is not installed.
    """
    return [ipa_to_arpabet(ipa) for ipa in _espeak().phonemize(list(words), strip=True)]


def gruut(words: Sequence[str]) -> list[Pronunciation]:
    """Pronounce words with gruut's lexicon and its model for unknown words.

    Parameters
    ----------
    words : sequence of str
        Lower-case words.

    Returns
    -------
    list of tuple of str
        ARPAbet phones of each word; empty where gruut says nothing.

    Raises
    ------
    UsageError
        `gruut` is not installed.
    """
    sentences = _gruut()
    return [
        tuple(
            phone
            for sentence in sentences(word, lang="en-us")
            for part in sentence
            for phone in ipa_to_arpabet("".join(part.phonemes or []))
        )
        for word in words
    ]


BACKENDS: dict[str, Callable[[Sequence[str]], list[Pronunciation]]] = {"espeak": espeak, "gruut": gruut}


@lru_cache(maxsize=1)
def _espeak() -> Any:
    try:
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
    except ImportError as error:
        raise UsageError("the espeak backend is not installed; run: pip install 'fewstep[espeak]'") from error
    try:
        import espeakng_loader
    except ImportError:
        pass  # an espeak-ng of the system
    else:
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    try:
        return EspeakBackend("en-us", with_stress=True)
    except RuntimeError as error:
        raise UsageError(f"espeak-ng does not start ({error}); run: pip install 'fewstep[espeak]'") from error


def _gruut() -> Any:
    try:
        from gruut import sentences
    except ImportError as error:
        raise UsageError("the gruut backend is not installed; run: pip install 'fewstep[gruut]'") from error
    return sentences
