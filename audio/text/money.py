"""Sums of money: `$3.50`, `£1`, `$2 million`, `$5-10`, `50¢`."""

import re

from .numbers import number
from .plain_numbers import NUMBER

Names = tuple[str, str, str, str]  # one, many, one hundredth, many hundredths

CURRENCIES: dict[str, Names] = {
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
AFTER = re.compile(rf"(?<![\d.,])(?P<amount>{NUMBER}) ?(?P<sign>[£€¥₹])")
CENTS = re.compile(r"(?<!\d)(\d+) ?¢")


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
    country = "".join(f"{letter} " for letter in match["country"] or "" if letter.isalpha())
    attributive = bool(match["article"]) and match["noun"] is not None
    names = (country + one, country + (one if attributive else many), cent, cent if attributive else cents)
    amount, upto = match["amount"], match["upto"]
    scale = match["scale"] or LETTERS.get((match["letter"] or "").lower(), "")
    if upto and "." in amount and not scale:
        words = f"{_plain_sum(amount, names)} to {_plain_sum(upto, names)}"
    elif upto:
        words = " ".join(filter(None, [number(amount), "to", number(upto), scale, names[1]]))
    else:
        words = f"{number(amount)} {scale} {names[1]}" if scale else _plain_sum(amount, names)
    return f"{match['article'] or ''}{'minus ' if match['minus'] else ''}{words}"


def _plain_sum(amount: str, names: Names) -> str:
    one, many, cent, cents = names
    if not cent or not re.fullmatch(r"[\d,]*\.\d\d", amount):
        return f"{number(amount)} {one if amount == '1' else many}"
    whole, hundredths = amount.replace(",", "").split(".")
    parts = []
    if whole.strip("0") or not hundredths.strip("0"):
        parts.append(f"{number(whole or '0')} {one if whole == '1' else many}")
    if hundredths.strip("0"):
        parts.append(f"{number(str(int(hundredths)))} {cent if hundredths == '01' else cents}")
    return " and ".join(parts)
