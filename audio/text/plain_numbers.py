"""The numbers that are left when dates, money and measures are read: ranges, fractions, ordinals, years, decades."""

import re

from .numbers import cardinal, digits, fraction, number, ordinal, plural, year

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
FRACTION = r"(?:(?<![\d.])\d+[ -])?(?<![\d/.])\b\d{1,4}/\d{1,4}\b"
IDIOMS = {"24/7": "twenty four seven", "9/11": "nine eleven", "50/50": "fifty fifty", "20/20": "twenty twenty"}


def looks_like_year(text: str) -> bool:
    """Say whether four digits are read as a year: 1100 to 2099."""
    return len(text) == 4 and text.isascii() and text.isdigit() and 1100 <= int(text) < 2100


def say(text: str) -> str:
    """Read one number, four digits without a comma as a year."""
    return year(int(text)) if looks_like_year(text) else number(text)


def say_amount(text: str) -> str:
    """Read an amount: a number, a fraction `3/4`, or both `2 3/4`."""
    match = re.fullmatch(r"(?:(\d+)[ -])?(\d+)/(\d+)", text)
    if not match:
        return number(text)
    words = fraction(int(match[2]), int(match[3]))
    if not match[1]:
        return words
    return f"{number(match[1])} and {'a' + words.removeprefix('one') if match[2] == '1' else words}"


def expand_scientific(text: str) -> str:
    """Write the exponent of `3.0e8` in words: `3.0 times ten to the 8th`; a negative one as "to the minus 8"."""
    return re.sub(r"(?<![\w.])(\d(?:\.\d+)?)[eE]([+-]?)(\d+)\b", _scientific, text)


def expand_plain_numbers(text: str) -> str:
    """Write every remaining number of a text in words.

    Parameters
    ----------
    text : str
        Text that may hold `10-12`, `3 1/4`, `21st`, `the 1990s`, `'90s`, `-5`, `1,000.5`, `911`.

    Returns
    -------
    str
        The text without digits.
    """
    text = re.sub(r"(?<![\d/])(24/7|9/11|50/50|20/20)(?![\d/])", lambda m: f" {IDIOMS[m[1]]} ", text)
    text = re.sub(r"\b911\b(?! \w+s\b)", "nine one one", text)
    text = re.sub(r"(?<![\w.])(\d+\.\d+)/(10{1,3})\b", lambda m: f"{number(m[1])} out of {number(m[2])}", text)
    text = re.sub(rf"{FRACTION}(?![/\d])", lambda m: f" {say_amount(m[0])} ", text)
    text = re.sub(r"(?<![\w.])(\d[\d,]*)(?:st|nd|rd|th)\b", lambda m: ordinal(_whole(m[1])), text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=0s)-(?='?\d0s\b)", " to ", text)
    text = re.sub(r"(?<!\w)'?(\d{1,2}0|[1-9]\d{2}0)'?s\b", _decade, text)
    text = re.sub(r"(?<![\w'])'(\d\d)\b", lambda m: year(1900 + int(m[1]))[len("nineteen ") :], text)
    text = re.sub(rf"(?<![\w.-])({NUMBER}) ?(?:-+) ?({NUMBER})(?![\d-]|\.\d)", _range, text)
    text = re.sub(r"(?<![\w:])(\d+):(\d+)(?![\d:])", r"\1 to \2", text)
    text = re.sub(rf"(?<![\w.)'])([-+])({NUMBER})", lambda m: f" {number(m[1] + m[2])} ", text)
    text = re.sub(r"(?<!\d)\d+(?:\.\d+){2,}", _version, text)
    text = re.sub(r"(?<=\w)-(?=\d)|(?<=\d)-(?=\w)", " ", text)
    return re.sub(rf"(?<!\d)(?:{NUMBER})", lambda m: f" {say(m[0])} ", text)


def _scientific(match: re.Match[str]) -> str:
    exponent = int(match[3])
    power = f"minus {cardinal(exponent)}" if match[2] == "-" else ordinal(exponent)
    return f"{match[1]} times ten to the {power}"


def _whole(text: str) -> int:
    return int(text.replace(",", "")[:40] or 0)


def _decade(match: re.Match[str]) -> str:
    words = year(int(match[1])) if len(match[1]) == 4 else cardinal(int(match[1]))
    return f" {plural(words)} "


def _range(match: re.Match[str]) -> str:
    first, last = match[1], match[2]
    if looks_like_year(first) and len(last) == 2:
        return f" {year(int(first))} to {cardinal(int(last)) if last[0] != '0' else 'oh ' + digits(last[1])} "
    return f" {say(first)} to {say(last)} "


def _version(match: re.Match[str]) -> str:
    return " " + " point ".join(number(part) for part in match[0].split(".")) + " "
