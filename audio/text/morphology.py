"""Words that are not in the lexicon but whose parts are: inflected forms, contractions, compounds.

The suffixes follow English phonology: -s and -'s are Z, S or IH0 Z and -ed is D, T or IH0 D after the last phone.
Prefixes, -er, -est, -ly and short compounds are not here: on held-out dictionary words the letter-to-sound model was
better at them.
"""

from .lexicon import Lexicon, Pronunciation
from .symbols import VOWELS
from .tables import word_set

SIBILANTS = word_set("S Z SH ZH CH JH")
VOICELESS = word_set("P T K F TH S SH CH HH")

# (suffix, what may stand in its place in the known stem, phones; None: the rule of plurals or of the past tense)
SUFFIXES: tuple[tuple[str, tuple[str, ...], str | None], ...] = (
    ("'s", ("",), None),
    ("'ve", ("",), "AH0 V"),
    ("'ll", ("",), "AH0 L"),
    ("'re", ("",), "ER0"),
    ("'d", ("",), "D"),
    ("n't", ("",), "AH0 N T"),
    ("ies", ("y",), None),
    ("es", ("e", ""), None),
    ("s", ("",), None),
    ("ied", ("y",), None),
    ("ed", ("e", ""), None),
    ("ing", ("", "e"), "IH0 NG"),
    ("in'", ("", "e", "ing"), "AH0 N"),
    ("ness", ("",), "N AH0 S"),
    ("less", ("",), "L AH0 S"),
    ("ful", ("",), "F AH0 L"),
    ("ish", ("", "e"), "IH0 SH"),
    ("like", ("",), "L AY2 K"),
)
SHORTEST_STEM = 3
SHORTEST_COMPOUND_PART = 5


def by_parts(word: str, lexicon: Lexicon) -> Pronunciation:
    """Pronounce an unknown word from a known stem and its suffix, or from two known words of five letters or more.

    Parameters
    ----------
    word : str
        Lower-case word that the lexicon does not hold.
    lexicon : Lexicon
        Where the parts are looked up.

    Returns
    -------
    tuple of str
        Its phones; empty when no division into known parts was found.
    """
    return _with_suffix(word, lexicon) or _compound(word, lexicon)


def _with_suffix(word: str, lexicon: Lexicon) -> Pronunciation:
    for suffix, endings, phones in SUFFIXES:
        if word.endswith(suffix):
            root = word[: -len(suffix)]
            for stem in _stems(root, endings, doubled=suffix in ("ed", "ing", "in'", "ish")):
                known = lexicon.pronunciations(stem)
                if known:
                    return known[0] + (tuple(phones.split()) if phones else inflection(suffix, known[0][-1]))
    return ()


def _stems(root: str, endings: tuple[str, ...], *, doubled: bool) -> list[str]:
    stems = [root + ending for ending in endings]
    if doubled and len(root) > SHORTEST_STEM and root[-1] == root[-2] and root[-1] not in "aeiou":
        stems.append(root[:-1])
    return [stem for stem in stems if len(stem) >= SHORTEST_STEM]


def inflection(suffix: str, last: str) -> Pronunciation:
    """Return the phones of a suffix in s or in d after the last phone of a stem.

    Parameters
    ----------
    suffix : str
        Such as `'s`, `es` or `ed`; its last letter decides.
    last : str
        Last phone of the stem.
    """
    if suffix.endswith("d"):
        return ("IH0", "D") if last in ("T", "D") else ("T",) if last in VOICELESS else ("D",)
    return ("IH0", "Z") if last in SIBILANTS else ("S",) if last in VOICELESS else ("Z",)


def _compound(word: str, lexicon: Lexicon) -> Pronunciation:
    """Join two known words, the longest first part first; the second keeps only a secondary stress."""
    for cut in range(len(word) - SHORTEST_COMPOUND_PART, SHORTEST_COMPOUND_PART - 1, -1):
        first, second = word[:cut], word[cut:]
        if first in lexicon and second in lexicon:
            head, tail = lexicon.pronunciations(first)[0], lexicon.pronunciations(second)[0]
            return head + tuple(phone.replace("1", "2") if phone[:2] in VOWELS else phone for phone in tail)
    return ()
