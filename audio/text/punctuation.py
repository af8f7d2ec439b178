"""The last pass: lower case, letter names, and one mark of `, . ? ! ; : -` at each pause."""

import re

CLUSTER = re.compile(r"[\s,.?!;:-]*[,.?!;:-][\s,.?!;:-]*")
# Apostrophes outside words; those of 'tis and 'em belong to their words.
QUOTE = re.compile(
    r"(?<![A-Za-z])'+(?!(?:tis|twas|em|til|cause|round|bout)\b)|(?<=[A-Za-z])'+(?![A-Za-z])|''+", re.IGNORECASE
)
STRENGTH = "?!.;:-,"


def plain_punctuation(text: str) -> str:
    """Bring case and punctuation into the form that the tokens need.

    Parameters
    ----------
    text : str
        Text of words, with any ASCII punctuation.

    Returns
    -------
    str
        Lower-case words, except single capitals that are the names of letters. Brackets become commas, hyphens inside
        words blanks, dashes ` - `, quotes vanish, an ellipsis is a full stop at the end of a sentence and a comma
        inside; of several marks in a row the strongest stays.
    """
    text = re.sub(r"\n\s*\n", " .\n", text)
    text = re.sub(r"(?<!\.)(?<!\. )(?:\.\s?){3,}(?=\s*[a-z])", ", ", text)
    text = re.sub(r"\s-{1,3}\s|-{2,}", " \x00 ", text)
    text = re.sub(r"(?<=\w)-(?=\w)", " ", text)
    text = text.replace("-", " ").replace("\x00", "-")
    text = re.sub(r"[()\[\]{}|]", ", ", text)
    text = re.sub(r"[^A-Za-z',.?!;:\s-]", " ", text)
    text = QUOTE.sub(" ", text)
    text = _letter_case(re.sub(r"\s+", " ", text))
    text = CLUSTER.sub(_strongest, text)
    return re.sub(r"\s+", " ", text).strip(" ,;:-").removeprefix(". ").strip() if re.search("[A-Za-z]", text) else ""


def _strongest(match: re.Match[str]) -> str:
    mark = min((c for c in match[0] if c in STRENGTH), key=STRENGTH.index)
    return " - " if mark == "-" else f"{mark} "


def _letter_case(text: str) -> str:
    """Lower the case of words; capitals standing alone are letters, except `I` and an article `A`."""
    words = re.sub(r"(?![A-Z]'s\b)[A-Za-z'][A-Za-z']+", lambda m: m[0].lower(), text)
    words = re.sub(r"(?<![A-Za-z'])([b-hj-z])(?![A-Za-z'])", lambda m: m[1].upper(), words)
    words = re.sub(r"(?<![A-Za-z'])(?<![A-Z] )I(?=(?: [a-z]|'[a-z]|[.,;:?!-]|\s*$))", "i", words)
    return re.sub(r"(?:(?<=^)|(?<=[.?!:;,] )|(?<=- ))A(?= (?!plus\b|minus\b)[a-z])", "a", words)
