"""Roman numerals where they are numbers: `Chapter IV`, `Henry VIII`, `World War II`."""

import re

from .numbers import cardinal, ordinal
from .tables import word_set

VALUES = {"M": 1000, "D": 500, "C": 100, "L": 50, "X": 10, "V": 5, "I": 1}
STRICT = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
COUNTED = word_set(
    "Chapter Part Volume Vol Book Act Scene Section War Title Article Phase Type Class Bowl Apollo Stage Level Grade",
    "Figure Fig Table Appendix Unit Round Season Episode Rocky Mark Symphony Concerto Lesson Canto Verse Step Group",
)
REIGNED = word_set(
    "Henry Louis Elizabeth Edward George Charles James William Richard Philip John Paul Pius Benedict Gregory Leo",
    "Innocent Clement Alexander Nicholas Peter Catherine Frederick Napoleon Ramses Ptolemy Mary Robert Francis Otto",
    "Wilhelm Christian Gustav Felipe Alfonso Ferdinand Joseph Leopold Cleopatra Darius Xerxes Ivan Urban Boniface",
)
FIRST_PERSON = word_set("think have am know want will would can could don't do should must shall like love need")
NUMERAL = re.compile(r"\b(?P<name>[A-Z][a-z]+)(?P<dot>\.?) (?P<roman>[IVXLCDM]+)\b(?!'[^s])")


def roman_value(numeral: str) -> int:
    """Return the value of a Roman numeral, 0 if it is not one in its strict form."""
    if not numeral or not STRICT.fullmatch(numeral):
        return 0
    values = [VALUES[letter] for letter in numeral]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def expand_roman(text: str) -> str:
    """Read Roman numerals after a name: monarchs by ordinals, chapters and the like by cardinals.

    A numeral of one letter, or with letters other than I, V and X, is read only after such a name or counted word.

    Parameters
    ----------
    text : str
        Text in its original case.

    Returns
    -------
    str
        `Henry VIII` becomes "Henry the eighth", `Chapter IV` "Chapter four".
    """
    return NUMERAL.sub(_numeral, text)


def _numeral(match: re.Match[str]) -> str:
    name, n = match["name"], roman_value(match["roman"])
    reigned = name in REIGNED and not match["dot"]
    if not n or (name not in COUNTED and not reigned and not _surely_roman(match["roman"])):
        return match[0]
    after = re.match(r"[, ]+([a-z']+)", match.string[match.end() :])
    if reigned and match["roman"] == "I" and after and after[1] in FIRST_PERSON:
        return match[0]  # "said John, I think"
    return f"{name} the {ordinal(n)}" if reigned else f"{name} {cardinal(n)}"


def _surely_roman(numeral: str) -> bool:
    return len(numeral) > 1 and set(numeral) <= set("IVX")
