"""Word -> ARPAbet phones with stress: the CMU Pronouncing Dictionary, and the user's own words on top.

The dictionary (BSD-2-Clause, see data/LICENSE-cmudict) ships compressed and is read at the first look-up.
"""

import lzma
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from .symbols import PHONES, VOWELS

Pronunciation = tuple[str, ...]


class Lexicon:
    """The shipped dictionary with a user's words before it.

    Parameters
    ----------
    extra : mapping or path, optional
        Words to add or to override. A mapping goes from the word to its phones, `{"nginx": "EH1 N JH AH0 N EH1 K S"}`;
        a list of phone strings gives several variants. A path names a UTF-8 text file with one `word phones` per
        line; a word on several lines has several variants; `#` starts a comment.

    Raises
    ------
    ValueError
        An entry holds something that is not an ARPAbet phone, or a line has no phones.
    """

    def __init__(self, extra: Mapping[str, str | list[str]] | str | Path | None = None):
        if extra is None:
            extra = {}
        elif not isinstance(extra, Mapping):
            extra = _read_user_lexicon(Path(extra))
        self._extra = {
            word.lower(): tuple(parse_phones(p) for p in ([phones] if isinstance(phones, str) else phones))
            for word, phones in extra.items()
        }

    def pronunciations(self, word: str) -> tuple[Pronunciation, ...]:
        """Return every known pronunciation of a word, the default first.

        Parameters
        ----------
        word : str
            One word of letters and apostrophes; upper and lower case are the same.

        Returns
        -------
        tuple of tuple of str
            Phones such as `("HH", "AH0", "L", "OW1")`; empty when the word is unknown.
        """
        word = word.lower()
        if word in self._extra:
            return self._extra[word]
        entry = _dictionary().get(word)
        return tuple(tuple(phones.split(" ")) for phones in entry.split("\t")) if entry else ()

    def own(self, word: str) -> tuple[Pronunciation, ...]:
        """Return the pronunciations that the user gave for a word; empty when there are none."""
        return self._extra.get(word.lower(), ())

    def __contains__(self, word: str) -> bool:
        return word.lower() in self._extra or word.lower() in _dictionary()


@lru_cache(maxsize=1)
def default_lexicon() -> Lexicon:
    """Return the shipped dictionary without additions (one shared object)."""
    return Lexicon()


def pronunciations(word: str) -> tuple[Pronunciation, ...]:
    """Look a word up in the shipped dictionary; see `Lexicon.pronunciations`."""
    return default_lexicon().pronunciations(word)


def dictionary_words() -> Iterable[str]:
    """Return the words of the shipped dictionary, in its alphabetical order."""
    return _dictionary().keys()


def parse_phones(text: str) -> Pronunciation:
    """Read ARPAbet phones separated by blanks; stress digits may be left out.

    A word whose vowels carry no digit at all is stressed on its first vowel.

    Parameters
    ----------
    text : str
        Such as `"HH AH0 L OW1"` or `"hh ah l ow"`.

    Returns
    -------
    tuple of str
        Phones of `symbols.PHONES`.

    Raises
    ------
    ValueError
        There is no phone in the text, or one of them is not in the ARPAbet alphabet.
    """
    phones = text.upper().split()
    if not phones:
        raise ValueError("expected ARPAbet phones such as 'HH AH0 L OW1', got nothing")
    stress = "0" if any(phone[-1] in "012" for phone in phones) else "1"
    result = []
    for phone in phones:
        if phone in VOWELS:
            phone, stress = phone + stress, "0"
        if phone not in PHONES:
            raise ValueError(f"'{phone}' is not an ARPAbet phone; known are {' '.join(VOWELS)} {' '.join(PHONES[45:])}")
        result.append(phone)
    return tuple(result)


def _read_user_lexicon(file: Path) -> dict[str, list[str]]:
    entries: dict[str, list[str]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        fields = re.sub(r"#.*", "", line).split(None, 1)
        if len(fields) == 1:
            raise ValueError(f"{file}, line {number}: expected 'word phones', got '{line.strip()}'")
        if fields:
            entries.setdefault(fields[0].lower(), []).append(fields[1])
    return entries


@lru_cache(maxsize=1)
def _dictionary() -> dict[str, str]:
    packed = files(__package__).joinpath("data/cmudict.xz").read_bytes()
    lines = lzma.decompress(packed).decode().split("\n")
    return dict(line.split("\t", 1) for line in lines)
