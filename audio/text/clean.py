"""Unicode -> the plain characters that the normaliser reads; what cannot be said is dropped and reported.

Accents are taken off by canonical decomposition and look-alikes by compatibility decomposition (Unicode Annex 15).
"""

import re
import unicodedata

TRANSLATE = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼ`´′", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("—―⸺", " -- "),
        **dict.fromkeys("–‒‐‑", "-"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff\ufe0e\ufe0f", ""),  # invisible by design
        **dict.fromkeys("®™", ""),
        **dict.fromkeys("•·▪●", ", "),
        "…": "...",
        "−": " minus ",
        "×": " times ",
        "÷": " divided by ",
        "±": " plus or minus ",
        "≈": " approximately ",
        "≠": " is not equal to ",
        "≤": " less than or equal to ",
        "≥": " greater than or equal to ",
        "→": " to ",
        "√": " square root of ",
        "∞": " infinity ",
        "©": " copyright ",
        "§": " section ",
        "№": " number ",
        "¡": "",
        "¿": "",
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "þ": "th",
        "Þ": "Th",
        "ı": "i",
        "℃": "°C",
        "℉": "°F",
        "²": "²",
        "³": "³",
        "º": "°",
        "°": "°",
        "µ": "µ",
        "μ": "µ",
        "£": "£",
    }
)
KEPT = frozenset("£€¥₹¢°²³µ")
PLAIN = re.compile(r"[\n\t -~]")
GREEK = re.compile(r"GREEK (?:SMALL|CAPITAL) LETTER ([A-Z]+)")


def clean(text: str) -> tuple[str, tuple[str, ...]]:
    """Write a text in ASCII and a few signs of money and measure.

    Parameters
    ----------
    text : str
        Any Unicode text.

    Returns
    -------
    plain : str
        The text with accents, typographic quotes and dashes replaced; a blank stands for each dropped character.
    unknown : tuple of str
        The dropped characters (emoji, control characters, other scripts), each once, in the order of the text.
    """
    unknown: dict[str, None] = {}
    plain = "".join(_plain(character, unknown) for character in text.replace("\r\n", "\n").translate(TRANSLATE))
    return plain, tuple(unknown)


def _plain(character: str, unknown: dict[str, None]) -> str:
    if character in KEPT or PLAIN.match(character):
        return character
    if character.isspace():
        return "\n" if character in "\u2028\u2029\x85\r\v\f" else " "
    greek = GREEK.fullmatch(unicodedata.name(character, ""))
    if greek:
        return f" {greek[1].lower()} "
    parts = unicodedata.normalize("NFKD", character).replace("\u2044", "/")
    letters = "".join(part for part in parts if PLAIN.match(part) or part in KEPT)
    if unicodedata.category(character) == "No" and "/" in letters:
        return f" {letters} "
    if not letters and not unicodedata.combining(character):
        unknown[character] = None
        return " "
    return letters
