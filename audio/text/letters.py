"""The names of the twenty-six letters, for initials and for acronyms that are spelled out."""

from .lexicon import Pronunciation, parse_phones

LETTER_NAMES: dict[str, Pronunciation] = {
    letter: parse_phones(phones)
    for letter, phones in {
        "a": "EY1",
        "b": "B IY1",
        "c": "S IY1",
        "d": "D IY1",
        "e": "IY1",
        "f": "EH1 F",
        "g": "JH IY1",
        "h": "EY1 CH",
        "i": "AY1",
        "j": "JH EY1",
        "k": "K EY1",
        "l": "EH1 L",
        "m": "EH1 M",
        "n": "EH1 N",
        "o": "OW1",
        "p": "P IY1",
        "q": "K Y UW1",
        "r": "AA1 R",
        "s": "EH1 S",
        "t": "T IY1",
        "u": "Y UW1",
        "v": "V IY1",
        "w": "D AH1 B AH0 L Y UW0",
        "x": "EH1 K S",
        "y": "W AY1",
        "z": "Z IY1",
    }.items()
}


def spell(word: str) -> Pronunciation:
    """Return the phones of the names of a word's letters, one after the other; other characters are silent."""
    return tuple(phone for letter in word.lower() for phone in LETTER_NAMES.get(letter, ()))
