"""IPA of American English -> ARPAbet, for pronunciations that come from espeak or gruut.

The correspondence is the usual one of the CMU dictionary; a stress mark belongs to the next vowel.
"""

import re

from .lexicon import Pronunciation
from .symbols import VOWELS

IPA = {
    "aɪ": "AY",
    "aʊ": "AW",
    "eɪ": "EY",
    "oʊ": "OW",
    "əʊ": "OW",
    "ɔɪ": "OY",
    "ɜɹ": "ER",
    "tʃ": "CH",
    "dʒ": "JH",
    "n̩": "AH N",
    "l̩": "AH L",
    "m̩": "AH M",
    "ɑ": "AA",
    "a": "AA",
    "ɒ": "AA",
    "æ": "AE",
    "ʌ": "AH",
    "ə": "AH",
    "ɐ": "AH",
    "ɔ": "AO",
    "o": "OW",
    "ɛ": "EH",
    "e": "EH",
    "ɚ": "ER",
    "ɝ": "ER",
    "ɜ": "ER",
    "ɪ": "IH",
    "ᵻ": "IH",
    "ɨ": "IH",
    "i": "IY",
    "ʊ": "UH",
    "u": "UW",
    "b": "B",
    "d": "D",
    "ð": "DH",
    "f": "F",
    "ɡ": "G",
    "g": "G",
    "h": "HH",
    "ç": "HH",
    "k": "K",
    "x": "K",
    "l": "L",
    "ɫ": "L",
    "ɬ": "L",
    "m": "M",
    "n": "N",
    "ɲ": "N Y",
    "ŋ": "NG",
    "p": "P",
    "ɹ": "R",
    "r": "R",
    "ʁ": "R",
    "s": "S",
    "ʃ": "SH",
    "t": "T",
    "ɾ": "T",
    "ʔ": "T",
    "θ": "TH",
    "v": "V",
    "w": "W",
    "ʍ": "W",
    "j": "Y",
    "z": "Z",
    "ʒ": "ZH",
}
STRESS = {"ˈ": "1", "ˌ": "2"}
SILENT = re.compile(r"\([a-z-]+\)|[ː͡.ʲ̃\s|‖_-]")  # language switches, length, ties, boundaries
PIECE = re.compile("|".join([*STRESS, *sorted(IPA, key=len, reverse=True)]))


def ipa_to_arpabet(ipa: str) -> Pronunciation:
    """Translate one word.

    Parameters
    ----------
    ipa : str
        IPA such as `"təmˈeɪɾoʊ"`, with stress marks before the syllable or before its vowel.

    Returns
    -------
    tuple of str
        Phones such as `("T", "AH0", "M", "EY1", "T", "OW0")`.

    Raises
    ------
    ValueError
        A sign is not used for American English.
    """
    ipa = SILENT.sub("", ipa)
    phones, stress, position = [], "0", 0
    while position < len(ipa):
        match = PIECE.match(ipa, position)
        if not match:
            raise ValueError(f"no ARPAbet phone for the IPA sign '{ipa[position]}' in '{ipa}'")
        position = match.end()
        if match[0] in STRESS:
            stress = STRESS[match[0]]
            continue
        for phone in IPA[match[0]].split():
            phones.append(phone + stress if phone in VOWELS else phone)
            stress = "0" if phone in VOWELS else stress
    return tuple(phones)
