"""Words in capitals: `FBI` is spelled, `NASA` is a word of the lexicon, `VERY` is only loud; `CEOs`, `MP3`, `AT&T`."""

import re

from .letters import spell
from .lexicon import default_lexicon
from .tables import word_set

# Words of the lexicon that are acronyms when they stand in capitals.
SPELLED = word_set(
    "US UN EU UK TV PC CD ID AI AD BC AM PM PR HR PA LA MA QA UV DC IP IQ VP GI LED ER DA DJ EST PST SAT CPA SUV DIY",
    "MIA ETA ERA EPA IRA CAD CAM MS MD BA GP SOS BCE",
)
SHORT_WORDS = word_set(
    "AN AS AT BE BY DO GO HE IF IN IS IT ME MY NO OF OH ON OR SO TO UP WE MR DR ST HI HA AH YO OX OW UH UM EH AW LO"
)
SPOKEN = word_set("COVID JPEG GIF WYSIWYG UNICEF UNESCO NAFTA FIFA UEFA OPEC LASIK DARPA CAPTCHA")
LONGEST_SPELLED = 5
CAPITALS = re.compile(r"(?<![A-Za-z'])([A-Z]{2,})('s|s|'S)?(?!'?[A-Za-z])")
DIGITS_AND_LETTERS = re.compile(r"\b(?!\d[\d,]*(?:st|nd|rd|th|s)\b)(?=\w*\d)(?=\w*[A-Za-z])\w+")
MIXED = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")


def expand_acronyms(text: str) -> str:
    """Spell acronyms as single capitals and put the other words in capitals into lower case.

    Parameters
    ----------
    text : str
        Text in its original case.

    Returns
    -------
    str
        `The FBI and NASA` becomes "The F B I and nasa". A text without a lower-case letter is loud, not an acronym:
        only what the lexicon itself spells is spelled.
    """
    loud = not re.search(r"[a-z]", text) and len(re.findall(r"[A-Z]{2,}", text)) > 1
    return CAPITALS.sub(lambda m: _word(m[1], (m[2] or "").lower(), loud, text[: m.start()]), text)


def split_digits(text: str) -> str:
    """Part letters from digits, `MP3` into `MP 3`, except in ordinals, decades and hexadecimal-looking words."""
    return DIGITS_AND_LETTERS.sub(_part, text)


def _part(match: re.Match[str]) -> str:
    spelled = " ".join(match[0]) if re.fullmatch(r"[A-Z\d]*\d[A-Z\d]*", match[0]) else ""
    parted = re.sub(r"(?<=\d) (?=\d)", "", spelled) or MIXED.sub(" ", match[0])
    return re.sub(r"\b[a-z]\b", lambda m: m[0].upper(), parted)


def _word(capitals: str, ending: str, loud: bool, before: str) -> str:
    if _is_spelled(capitals, loud, before):
        return " ".join(capitals) + ("'s" if ending else "")
    return capitals.lower() + ending


def _is_spelled(capitals: str, loud: bool, before: str) -> bool:
    word = capitals.lower()
    known = default_lexicon().pronunciations(word)
    if any(_plain(phones) == _plain(spell(word)) for phones in known[:1]):
        return True
    if loud:
        return not known and len(capitals) < 4
    if capitals in ("IT", "WHO"):
        return re.search(r"\b(?:the|an|our|their|your) $", before, re.IGNORECASE) is not None
    if capitals in SPELLED or capitals in SPOKEN:
        return capitals in SPELLED
    if len(capitals) == 2:
        return capitals not in SHORT_WORDS
    return not known and (len(capitals) <= LONGEST_SPELLED or not re.search("[AEIOUY]", capitals))


def _plain(phones: tuple[str, ...]) -> list[str]:
    return [phone.rstrip("012") for phone in phones]
