"""Words that are not in the lexicon but whose parts are: suffixes and compounds.

The suffixes follow English phonology: -s and -'s are Z, S or AH0 Z and -ed is D, T or AH0 D after the last phone.
"""

from .lexicon import Lexicon, Pronunciation
from .symbols import VOWELS
from .tables import word_set

SIBILANTS = word_set("S Z SH ZH CH JH")
VOICELESS = word_set("P T K F TH S SH CH HH")

# (suffix, what may stand in its place in the known stem, phones; None: the rule of plurals or of the past tense)
SUFFIXES: tuple[tuple[str, tuple[str, ...], str | None], ...] = (
    ("'s", ("",), None),
    ("s'", ("s", ""), None),
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
    ("ers", ("e", ""), "ER0 Z"),
    ("er", ("e", ""), "ER0"),
    ("est", ("e", ""), "AH0 S T"),
    ("ily", ("y",), "AH0 L IY0"),
    ("ly", ("",), "L IY0"),
    ("ness", ("",), "N AH0 S"),
    ("less", ("",), "L AH0 S"),
    ("ful", ("",), "F AH0 L"),
    ("ment", ("",), "M AH0 N T"),
    ("able", ("", "e"), "AH0 B AH0 L"),
    ("ish", ("", "e"), "IH0 SH"),
    ("like", ("",), "L AY2 K"),
)
PREFIXES = {
    "un": "AH0 N",
    "re": "R IY0",
    "non": "N AA0 N",
    "dis": "D IH0 S",
    "over": "OW2 V ER0",
    "under": "AH2 N D ER0",
    "inter": "IH2 N T ER0",
    "anti": "AE2 N T IY0",
    "multi": "M AH2 L T IY0",
    "micro": "M AY2 K R OW0",
    "super": "S UW2 P ER0",
    "pre": "P R IY0",
    "mis": "M IH0 S",
}
SHORTEST_PART = 3


def by_parts(word: str, lexicon: Lexicon) -> Pronunciation:
    """Pronounce an unknown word from a known stem and suffix or prefix, or from two known words.

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
    return _with_suffix(word, lexicon) or _with_prefix(word, lexicon) or _compound(word, lexicon)


def _with_suffix(word: str, lexicon: Lexicon) -> Pronunciation:
    for suffix, endings, phones in SUFFIXES:
        if not word.endswith(suffix):
            continue
        root = word[: -len(suffix)]
        for stem in _stems(root, endings, doubled="'" not in suffix and suffix[0] in "ei"):
            known = _stem_phones(stem, suffix, lexicon)
            if known:
                return known + (tuple(phones.split()) if phones else inflection(suffix, known[-1]))
    return ()


def _stems(root: str, endings: tuple[str, ...], *, doubled: bool) -> list[str]:
    stems = [root + ending for ending in endings]
    if doubled and len(root) > 3 and root[-1] == root[-2] and root[-1] not in "aeiou":
        stems.append(root[:-1])
    return [stem for stem in stems if len(stem) >= SHORTEST_PART]


def _stem_phones(stem: str, suffix: str, lexicon: Lexicon) -> Pronunciation:
    known = lexicon.pronunciations(stem)
    if known:
        return known[0]
    deeper = suffix in ("'s", "'ve", "s'", "s", "ed", "ing", "ly", "ness")
    return (_with_prefix(stem, lexicon) or _compound(stem, lexicon)) if deeper else ()


def inflection(suffix: str, last: str) -> Pronunciation:
    """Return the phones of a suffix in s or in d after the last phone of a stem."""
    if suffix.endswith("d"):
        return ("AH0", "D") if last in "TD" else ("T",) if last in VOICELESS else ("D",)
    return ("AH0", "Z") if last in SIBILANTS else ("S",) if last in VOICELESS else ("Z",)


def _with_prefix(word: str, lexicon: Lexicon) -> Pronunciation:
    for prefix, phones in PREFIXES.items():
        rest = word[len(prefix) :]
        if word.startswith(prefix) and len(rest) > SHORTEST_PART and rest in lexicon:
            return tuple(phones.split()) + lexicon.pronunciations(rest)[0]
    return ()


def _compound(word: str, lexicon: Lexicon) -> Pronunciation:
    """Join two known words, the longest first part first; the second keeps only a secondary stress."""
    for cut in range(len(word) - SHORTEST_PART, SHORTEST_PART - 1, -1):
        first, second = word[:cut], word[cut:]
        if first in lexicon and second in lexicon and _has_vowel_letter(first) and _has_vowel_letter(second):
            head, tail = (lexicon.pronunciations(first)[0], lexicon.pronunciations(second)[0])
            return head + tuple(phone.replace("1", "2") if phone[:2] in VOWELS else phone for phone in tail)
    return ()


def _has_vowel_letter(word: str) -> bool:
    return any(letter in "aeiouy" for letter in word)
