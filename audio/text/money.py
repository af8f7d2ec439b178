"""Sums of money: `$3.50`, `£1`, `$2 million`, `$5-10`, `50¢`."""

import re

from .numbers import number
from .plain_numbers import NUMBER

# sign: (singular, plural, hundredth singular, hundredth plural)
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
LETTERS = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "t": "trillion"}
SCALE = r"(?:hundred|thousand|million|billion|trillion)"
AMOUNT = re.compile(
    rf"(?P<article>\ban? )?(?P<minus>-)?(?P<country>\b(?:US|U\.S\.|A|C|NZ|HK) ?)?"
    rf"(?P<sign>[$£€¥₹]) ?(?P<amount>{NUMBER})(?: ?(?:-+|to) ?[$£€¥₹]?(?P<upto>{NUMBER}))?"
    rf"(?: (?P<scale>{SCALE})\b|(?P<letter>[kKmMbBtT]n?)\b)?(?P<noun>(?=[- ][a-z]))?"
)
AFTER = re.compile(rf"(?P<amount>{NUMBER}) ?(?P<sign>[£€¥₹])")
CENTS = re.compile(r"(\d+) ?¢")


def expand_money(text: str) -> str:
    """Write every sum of money in words.

    Parameters
    ----------
    text : str
        `$3.50` becomes "three dollars and fifty cents", `$2.5 million` "two point five million dollars", `a $20 bill`
        "a twenty dollar bill".

    Returns
    -------
    str
        The text without currency signs beside numbers.
    """
    text = AFTER.sub(lambda m: m["sign"] + m["amount"], text)
    text = AMOUNT.sub(_sum, text)
    return CENTS.sub(lambda m: f"{number(m[1])} {'cent' if m[1] == '1' else 'cents'}", text)


def _sum(match: re.Match[str]) -> str:
    one, many, cent, cents = CURRENCIES[match["sign"]]
    amount, scale = match["amount"], match["scale"] or LETTERS.get((match["letter"] or "").lower(), "")
    country = " ".join(letter for letter in match["country"] or "" if letter.isalpha())
    article, minus = match["article"] or "", "minus " if match["minus"] else ""
    unit = f"{country} {one if article and match['noun'] is not None else many}".strip()
    if match["upto"]:
        words = " ".join(filter(None, [number(amount), "to", number(match["upto"]), scale, unit]))
    elif scale or not re.fullmatch(r"[\d,]*\.\d\d", amount) or not cent:
        single = not scale and amount == "1"
        words = " ".join(filter(None, [number(amount), scale, f"{country} {one}".strip() if single else unit]))
    else:
        words = _with_cents(amount, (f"{country} {one}".strip(), f"{country} {many}".strip(), cent, cents))
    return f"{article}{minus}{words}"


def _with_cents(amount: str, names: tuple[str, str, str, str]) -> str:
    one, many, cent, cents = names
    whole, hundredths = amount.replace(",", "").split(".")
    parts = []
    if whole.strip("0") or not hundredths.strip("0"):
        parts.append(f"{number(whole or '0')} {one if whole == '1' else many}")
    if hundredths.strip("0"):
        parts.append(f"{number(str(int(hundredths)))} {cent if hundredths == '01' else cents}")
    return " and ".join(parts)
