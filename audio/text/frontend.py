"""English text -> the tokens that the acoustic model reads: normalise, pronounce, and put the separators in.

Pieces in double square brackets are phones already: `Say [[ T AH0 M EY1 T OW0 ]], please.`
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .clean import clean
from .homographs import preferred_first
from .lexicon import Lexicon, Pronunciation, default_lexicon, parse_phones
from .normalize import normalize
from .pronounce import pronounce
from .symbols import PUNCTUATION, SPACE, START

INLINE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
TOKEN = re.compile(r"[A-Za-z']*[A-Za-z][A-Za-z']*|[,.?!;:-]")
STRONGEST_FIRST = "?!.;:-,"


class EmptyText(ValueError):
    """The text holds no word that can be spoken."""


@dataclass(frozen=True)
class Word:
    """A spoken word and the half-open span of its phones, `tokens[start:end]`."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Phones:
    """What `phonemize` returns.

    Attributes
    ----------
    tokens : tuple of str
        Tokens of `symbols.SYMBOLS`: START, then words of phones separated by exactly one separator token (a space or a
        punctuation mark); the last token is a punctuation mark.
    words : tuple of Word
        The spoken words in order, with the spans of their phones.
    unknown : tuple of str
        Characters of the text that cannot be said and were skipped, each once.
    guessed : tuple of str
        Words pronounced by the letter-to-sound model, each once.
    """

    tokens: tuple[str, ...]
    words: tuple[Word, ...]
    unknown: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()


class SpokenWord(NamedTuple):
    """A word, all its pronunciations (the one that suits its context first), and the separator after it."""

    text: str
    variants: tuple[Pronunciation, ...]
    separator: str


def phonemize(text: str, *, lexicon: Lexicon | None = None) -> Phones:
    """Turn English text into tokens.

    Parameters
    ----------
    text : str
        Any text; phones may stand in it as `[[ HH AH0 L OW1 ]]`, with or without stress digits.
    lexicon : Lexicon, optional
        The shipped dictionary with words of your own; default: without additions.

    Returns
    -------
    Phones
        The tokens with the spans of the words, and what was skipped or guessed.

    Raises
    ------
    EmptyText
        Nothing in the text can be said.
    ValueError
        Inline phones hold something that is not an ARPAbet phone.
    """
    _, unknown = clean(INLINE.sub(" ", text))
    spoken, guessed = _speak(text, lexicon or default_lexicon())
    tokens, words = [START], []
    for word in spoken:
        start = len(tokens)
        tokens += [*word.variants[0], word.separator]
        words.append(Word(word.text, start, len(tokens) - 1))
    return Phones(tuple(tokens), tuple(words), unknown, guessed)


def words_with_variants(text: str, *, lexicon: Lexicon | None = None) -> list[SpokenWord]:
    """Return every spoken word of a text with all its pronunciations, for a forced aligner to choose from.

    The first variants and the separators, joined after START, are the tokens of `phonemize`.

    Parameters
    ----------
    text : str
        As for `phonemize`.
    lexicon : Lexicon, optional
        As for `phonemize`.

    Returns
    -------
    list of SpokenWord
        `(text, variants, separator)`; the last separator is a punctuation mark.

    Raises
    ------
    EmptyText
        Nothing in the text can be said.
    ValueError
        Inline phones hold something that is not an ARPAbet phone.
    """
    return _speak(text, lexicon or default_lexicon())[0]


def _speak(text: str, lexicon: Lexicon) -> tuple[list[SpokenWord], tuple[str, ...]]:
    spoken: list[SpokenWord] = []
    guessed: dict[str, None] = {}
    inline: set[int] = set()
    for item in _items(text):
        if isinstance(item, tuple):
            inline.add(len(spoken))
            spoken.append(SpokenWord(" ".join(item), (item,), SPACE))
        elif item in PUNCTUATION:
            if spoken:
                spoken[-1] = spoken[-1]._replace(separator=_stronger(spoken[-1].separator, item))
        else:
            variants, is_guess = pronounce(item, lexicon)
            if any(variants):
                spoken.append(SpokenWord(item, variants, SPACE))
            if is_guess:
                guessed[item] = None
    if not spoken:
        raise EmptyText(f"nothing to say: expected text with at least one word, got {text[:40]!r}")
    if spoken[-1].separator in (SPACE, "-", ",", ":", ";"):
        spoken[-1] = spoken[-1]._replace(separator=".")
    return _in_context(spoken, inline), tuple(guessed)


def _items(text: str) -> Iterator[str | Pronunciation]:
    """Yield words and punctuation marks as strings, and inline phones as tuples."""
    for number, piece in enumerate(INLINE.split(text)):
        if number % 2:
            yield parse_phones(piece)
        else:
            yield from TOKEN.findall(normalize(piece))


def _stronger(first: str, second: str) -> str:
    return min(first, second, key=lambda mark: STRONGEST_FIRST.find(mark) % len(SPACE + STRONGEST_FIRST))


def _in_context(spoken: list[SpokenWord], inline: set[int]) -> list[SpokenWord]:
    """Reorder the variants of each word by its neighbours, from the last word to the first."""
    result = list(spoken)
    for i in reversed(range(len(spoken))):
        word = spoken[i]
        if i in inline or (len(word.variants) == 1 and word.text not in ("the", "to")):
            continue
        after = result[i + 1] if i + 1 < len(spoken) else None
        variants = preferred_first(
            word.text,
            word.variants,
            before=spoken[i - 1].text if i else "",
            after=after.text if after else "",
            separator=word.separator,
            next_phone=after.variants[0][0] if after else "",
        )
        result[i] = word._replace(variants=variants)
    return result
