"""Whole numbers, ordinals, decimals, years and fractions in American English words."""

import re

# fmt: off
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = (
    "", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion",
    "octillion", "nonillion", "decillion",
)
# fmt: on
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
# Denominators that are read as parts; other n/m are read "n over m".
DENOMINATORS = frozenset((*range(2, 13), 15, 16, 20, 25, 32, 50, 64, 100, 1000))


def cardinal(n: int) -> str:
    """Write a whole number in words, without "and": 342 is "three hundred forty two".

    Parameters
    ----------
    n : int
        Any size; from 10**36 on the digits are read one by one.
    """
    if n < 0:
        return "minus " + cardinal(-n)
    if n < 100:
        return ONES[n] if n < 20 else f"{TENS[n // 10]} {ONES[n % 10]}".removesuffix(" zero")
    if n >= 1000 ** len(SCALES):
        return digits(_decimal_string(n))
    if n < 1000:
        return f"{ONES[n // 100]} hundred" + (f" {cardinal(n % 100)}" if n % 100 else "")
    groups, scale = [], 0
    while n:
        n, group = divmod(n, 1000)
        if group:
            groups.append(f"{cardinal(group)} {SCALES[scale]}".rstrip())
        scale += 1
    return " ".join(reversed(groups))


def ordinal(n: int) -> str:
    """Write the place of a whole number in words: 21 is "twenty first"."""
    head, _, last = cardinal(n).rpartition(" ")
    last = ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return f"{head} {last}".strip()


def digits(text: str, *, zero: str = "zero") -> str:
    """Read the digits of a string one by one; other characters are skipped."""
    return " ".join(zero if digit == "0" else ONES[int(digit)] for digit in text if digit in "0123456789")


def year(n: int) -> str:
    """Read a year: 1999 is "nineteen ninety nine", 2005 "two thousand five", 1900 "nineteen hundred"."""
    century, rest = divmod(n, 100)
    if n < 1000 or n > 9999 or (century % 10 == 0 and rest < 10):
        return cardinal(n)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def plural(words: str) -> str:
    """Put the last word of a number into the plural: "nineteen nineties", "thirds"."""
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")


def fraction(numerator: int, denominator: int) -> str:
    """Read a fraction: 3/4 is "three quarters", 22/7 "twenty two sevenths", 5/17 "five over seventeen"."""
    if denominator not in DENOMINATORS:
        return f"{cardinal(numerator)} over {cardinal(denominator)}"
    part = {2: "half", 4: "quarter"}.get(denominator) or ordinal(denominator).removeprefix("one ")
    parts = part if numerator == 1 else "halves" if denominator == 2 else part + "s"
    return f"{cardinal(numerator)} {parts}"


def number(text: str) -> str:
    """Read a number as it is written.

    Parameters
    ----------
    text : str
        Such as `12`, `-3.05`, `1,234,567`, `.5` or `007`. Digits after the point are read one by one, and so are whole
        numbers that start with a zero.

    Raises
    ------
    ValueError
        The text is not a number.
    """
    match = re.fullmatch(r"([+-]?)([\d,]*)(?:\.(\d+))?", text.strip(), re.ASCII)
    if not match or not (match[2].strip(",") or match[3]):
        raise ValueError(f"expected a number such as '1,234.5', got '{text}'")
    sign = {"-": "minus ", "+": "plus ", "": ""}[match[1]]
    whole = match[2].replace(",", "")
    if (len(whole) > 1 and whole.startswith("0")) or len(whole) > 36:
        words = digits(whole)
    else:
        words = cardinal(int(whole)) if whole else ""
    return sign + (f"{words} point {digits(match[3])}".strip() if match[3] else words)


def _decimal_string(n: int) -> str:
    """`str(n)` without Python's limit on the length of conversions."""
    head, last = divmod(n, 10**1000)
    return (_decimal_string(head) + str(last).zfill(1000)) if head else str(last)
