"""Dates: `Jan. 3rd, 2024`, `3 January 2024`, `2024-01-03`, `1/3/2024` (month first, as in American English)."""

import re

from .numbers import DENOMINATORS, ordinal, year

# fmt: off
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)
# fmt: on
MONTH = (
    r"(?P<month>Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?\.?|July?\.?|Aug(?:ust|\.)?"
    r"|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"
)
DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\b"
YEAR = r"(?P<year>1\d{3}|20\d\d)\b(?![,.:]\d)"
WEEKDAYS = {
    "Mon": "monday",
    "Tue": "tuesday",
    "Tues": "tuesday",
    "Wed": "wednesday",
    "Thu": "thursday",
    "Thur": "thursday",
    "Thurs": "thursday",
    "Fri": "friday",
    "Sat": "saturday",
    "Sun": "sunday",
}
WEEKDAY = re.compile(rf"\b({'|'.join(sorted(WEEKDAYS, key=len, reverse=True))})(?:\.,?|,)(?= )")
MONTH_DAY = re.compile(rf"\b{MONTH} {DAY}(?:(?: ?- ?| to )(?P<last>\d\d?)(?:st|nd|rd|th)?\b)?(?!:\d)(?:,? {YEAR})?")
DAY_MONTH = re.compile(rf"\b(?P<the>the )?{DAY}(?: of)? {MONTH}(?![a-z])(?:,? {YEAR})?")
MONTH_YEAR = re.compile(rf"\b{MONTH} {YEAR}")
MONTH_ALONE = re.compile(r"\b(?:(Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec)\.(?= [a-z]|,)|(Feb|Aug|Sept|Oct|Nov|Dec)(?=\.))")
_DAYS = "|".join(sorted(WEEKDAYS, key=len, reverse=True))
WEEKDAYS_RANGE = re.compile(rf"\b({_DAYS})\.? ?- ?({_DAYS})\b\.?")
SHORT = re.compile(r"(?<![\d/.])(0?[1-9]|1[0-2])/(1[3-9]|2[1-9]|3[01])(?![/\d])")
ISO = re.compile(
    r"(?<![\d-])(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?:T(?=\d)|(?![\d-]))"
)
SLASHED = re.compile(r"(?<![\d/])(?P<month>0?[1-9]|1[0-2])/(?P<day>0?[1-9]|[12]\d|3[01])/(?P<year>\d{4}|\d\d)(?![\d/])")


def expand_dates(text: str) -> str:
    """Write every date in words.

    Parameters
    ----------
    text : str
        `Jan. 3rd, 2024` becomes "january third, twenty twenty four", and so do the ISO and the slashed form;
        `3 January` becomes "the third of january".

    Returns
    -------
    str
        The text with its dates in words.
    """
    text = WEEKDAYS_RANGE.sub(lambda m: f"{WEEKDAYS[m[1]]} to {WEEKDAYS[m[2]]}", text)
    text = WEEKDAY.sub(lambda m: f"{WEEKDAYS[m[1]]},", text)
    for pattern in (ISO, SLASHED):
        text = pattern.sub(_numeric, text)
    text = SHORT.sub(_short, text)
    text = MONTH_DAY.sub(_month_day, text)
    text = DAY_MONTH.sub(_day_month, text)
    text = MONTH_YEAR.sub(lambda m: f"{month_name(m['month'])} {year(int(m['year']))}", text)
    return MONTH_ALONE.sub(lambda m: month_name(m[1] or m[2]), text)


def month_name(written: str) -> str:
    """Return the full name of a month from its number or from its first three letters."""
    if written.isdigit():
        return MONTHS[int(written) - 1]
    return next(month for month in MONTHS if month.startswith(written[:3].lower()))


def _numeric(match: re.Match[str]) -> str:
    written = match["year"]
    said = year(int(written)) if len(written) == 4 else _short_year(int(written))
    return f"{month_name(match['month'])} {ordinal(int(match['day']))}, {said} "


def _short(match: re.Match[str]) -> str:
    """Read month/day where the second number is no usual denominator: 12/31, but not 3/16."""
    if int(match[2]) in DENOMINATORS:
        return match[0]
    return f"{month_name(match[1])} {ordinal(int(match[2]))}"


def _short_year(n: int) -> str:
    return year(2000 + n) if n < 70 else year(1900 + n)


def _month_day(match: re.Match[str]) -> str:
    words = f"{month_name(match['month'])} {ordinal(int(match['day']))}"
    if match["last"]:
        words += f" to {ordinal(int(match['last']))}"
    return words + (f", {year(int(match['year']))}" if match["year"] else "")


def _day_month(match: re.Match[str]) -> str:
    words = f"the {ordinal(int(match['day']))} of {month_name(match['month'])}"
    return words + (f", {year(int(match['year']))}" if match["year"] else "")
