"""English text -> the tokens that the acoustic model reads: normalise, pronounce, and put the separators in.

Pieces in double square brackets are phones already: `Say [[ T AH0 M EY1 T OW0 ]], please.`
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fewstep.core.errors import UsageError

from .backends import BACKENDS
from .clean import clean
from .homographs import preferred_first
from .lexicon import Lexicon, Pronunciation, default_lexicon, parse_phones
from .normalize import normalize
from .pronounce import pronounce
from .symbols import PUNCTUATION, SPACE, START

INLINE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
TOKEN = re.compile(r"[A-Za-z']*[A-Za-z][A-Za-z']*|[,.?!;:-]")
STRONGEST_FIRST = "?!.;:-,"
SENTENCE_ENDS = "?!."


class EmptyText(UsageError):
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


def phonemize(text: str, *, lexicon: Lexicon | None = None, backend: str = "builtin") -> Phones:
    """Turn English text into tokens.

    Parameters
    ----------
    text : str
        Any text; phones may stand in it as `[[ HH AH0 L OW1 ]]`, with or without stress digits.
    lexicon : Lexicon, optional
        The shipped dictionary with words of your own; default: without additions.
    backend : str
        Who pronounces the words that your own lexicon does not hold: "builtin" (dictionary and letter-to-sound), or
        "espeak" or "gruut" where they are installed.

    Returns
    -------
    Phones
        The tokens with the spans of the words, and what was skipped or guessed.

    Raises
    ------
    EmptyText
        Nothing in the text can be said.
    UsageError
        The backend is unknown or not installed.
    ValueError
        Inline phones hold something that is not an ARPAbet phone.
    """
    spoken, guessed = _speak(text, lexicon or default_lexicon(), backend)
    tokens, words = [START], []
    for word in spoken:
        start = len(tokens)
        tokens += [*word.variants[0], word.separator]
        words.append(Word(word.text, start, len(tokens) - 1))
    _, unknown = clean(INLINE.sub(" ", text))
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
    return _speak(text, lexicon or default_lexicon(), "builtin")[0]


def _speak(text: str, lexicon: Lexicon, backend: str) -> tuple[list[SpokenWord], tuple[str, ...]]:
    items = list(_items(text))
    known, guessed = _pronunciations(
        [i for i in items if isinstance(i, str) and i not in PUNCTUATION], lexicon, backend
    )
    spoken: list[SpokenWord] = []
    inline: set[int] = set()
    for item in items:
        if isinstance(item, tuple):
            inline.add(len(spoken))
            spoken.append(SpokenWord(" ".join(item), (item,), SPACE))
        elif item in known:
            spoken.append(SpokenWord(item, known[item], SPACE))
        elif item in PUNCTUATION and spoken:
            spoken[-1] = spoken[-1]._replace(separator=_stronger(spoken[-1].separator, item))
    if not spoken:
        raise EmptyText(f"nothing to say: expected text with at least one word, got {text[:40]!r}")
    if spoken[-1].separator not in SENTENCE_ENDS:
        spoken[-1] = spoken[-1]._replace(separator=".")
    return _in_context(spoken, inline), guessed


def _pronunciations(
    words: list[str], lexicon: Lexicon, backend: str
) -> tuple[dict[str, tuple[Pronunciation, ...]], tuple[str, ...]]:
    """Return the variants of each word that has a sound, and the words that were guessed."""
    words = list(dict.fromkeys(words))
    if backend == "builtin":
        results = {word: pronounce(word, lexicon) for word in words}
    elif backend in BACKENDS:
        others = [word for word in words if word.islower() and not lexicon.own(word)]
        phones = dict(zip(others, BACKENDS[backend](others), strict=True))
        results = {word: ((phones[word],), False) if word in phones else pronounce(word, lexicon) for word in words}
    else:
        raise UsageError(f"unknown backend '{backend}'; choose from builtin, {', '.join(BACKENDS)}")
    known = {word: variants for word, (variants, _) in results.items() if variants[0]}
    return known, tuple(word for word, (_, guess) in results.items() if guess)


def _items(text: str) -> Iterator[str | Pronunciation]:
    """Yield words and punctuation marks as strings, and inline phones as tuples.

    While the text is normalised, a made-up word stands for each piece of inline phones.
    """
    pieces = INLINE.split(text)
    inline = {f"qzx{_letters(i)}qzx": parse_phones(phones) for i, phones in enumerate(pieces[1::2])}
    words = [f" {word} " for word in inline]
    plain = "".join(piece for pair in zip(pieces[::2], [*words, ""], strict=True) for piece in pair)
    for item in TOKEN.findall(normalize(plain)):
        yield inline.get(item, item)


def _letters(n: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(n))


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
