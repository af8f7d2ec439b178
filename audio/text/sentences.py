"""A text -> its sentences, none longer than the model is used to.

A full stop after a title, an initial or an abbreviation does not end a sentence; long sentences are parted at the best
pause: semicolon, comma, conjunction, blank.
"""

import re

from .abbreviations import FINAL, INNER, NUMBERED, TITLES, kept_stop
from .tables import word_set

CANDIDATE = re.compile(r"(?P<stop>[.?!…]+)(?P<close>[\"'”’)\]]*)(?=\s|$)")
PARAGRAPH = re.compile(r"\n\s*\n")
ABBREVIATION = re.compile(r"(?:[A-Za-z]+\.)*[A-Za-z]+\.$|et al\.$")
PAUSES = (
    re.compile(r"[;:](?=\s)|\s[-–—]+(?=\s)|—"),
    re.compile(r",(?=\s)"),
    re.compile(r"(?=\s(?:and|but|or|nor|so|yet|because|which|who|that|when|while|where|if|although|though|than)\s)"),
    re.compile(r"(?=\s)"),
)
NEVER_LAST = word_set(" ".join(f"{word}." for word in TITLES))
MONTHS = word_set("Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. Mon. Tue. Tues. Wed. Thu. Thurs. Fri.")


def split_sentences(text: str, *, max_chars: int = 200) -> list[str]:
    """Split a text into sentences of at most `max_chars` characters.

    Parameters
    ----------
    text : str
        Any text; a blank line ends a sentence, a single line break does not. Inline phones in double square brackets
        stay in one piece if they fit.
    max_chars : int
        Length from which a sentence is parted, first at semicolons and dashes, then at commas, before conjunctions,
        between words, and at last inside a word.

    Returns
    -------
    list of str
        Sentences without blanks at their ends; none is empty. Joined, they hold every character of the text except
        white space.

    Raises
    ------
    ValueError
        `max_chars` is less than 1.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars must be at least 1, got {max_chars}")
    sentences = [sentence for paragraph in PARAGRAPH.split(text) for sentence in _sentences(paragraph)]
    return [piece for sentence in sentences for piece in _pieces(sentence, max_chars)]


def _sentences(paragraph: str) -> list[str]:
    paragraph = re.sub(r"\s+", " ", paragraph).strip()
    result, start = [], 0
    for match in CANDIDATE.finditer(paragraph):
        if _ends_sentence(paragraph, match):
            result.append(paragraph[start : match.end()].strip())
            start = match.end()
    return [sentence for sentence in [*result, paragraph[start:].strip()] if sentence]


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    rest = text[match.end() :].lstrip(" \"'“‘([")
    if not rest:
        return True
    if match["stop"] != "." or match["close"]:
        return not rest[0].islower()
    before = text[max(0, match.start() - 40) : match.end("stop")]
    return _after_abbreviation(text, match, before) if ABBREVIATION.search(before) else not rest[0].islower()


def _after_abbreviation(text: str, match: re.Match[str], before: str) -> bool:
    """Say whether the full stop behind a word that may be an abbreviation ends the sentence as well."""
    word, rest = before.rsplit(" ", 1)[-1].lstrip("\"'“‘(["), text[match.end() :]
    if word in NEVER_LAST and word not in FINAL and rest[1:2].isupper():
        return False
    if word[:-1] in NUMBERED and re.match(r" [\dIVXLC]", rest):
        return False
    initial = re.fullmatch(r"[A-HJ-Z]\.", word) is not None
    if word.lower() in INNER or word in FINAL or word in MONTHS or "." in word[:-1] or initial:
        return bool(kept_stop(text, match.end()))
    return not rest.lstrip(" \"'“‘([")[0].islower()


def _pieces(sentence: str, max_chars: int) -> list[str]:
    pieces = []
    while len(sentence) > max_chars:
        cut = _best_cut(sentence, max_chars)
        pieces.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [piece for piece in [*pieces, sentence] if piece]


def _best_cut(sentence: str, max_chars: int) -> int:
    """Return the last pause of the strongest kind in the second two thirds of what fits."""
    for pause in PAUSES:
        ends = [match.end() for match in pause.finditer(sentence, 0, max_chars + 1) if match.end() <= max_chars]
        ends = [end for end in ends if end >= max_chars // 3 and not _inside_phones(sentence, end)]
        if ends:
            return ends[-1]
    return max_chars


def _inside_phones(sentence: str, position: int) -> bool:
    return sentence.rfind("[[", 0, position) > sentence.rfind("]]", 0, position)
