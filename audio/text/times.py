"""Times of day: `10:45 a.m.`, `14:05`, `9 o'clock`, `5-6 pm`."""

import re

from .abbreviations import kept_stop
from .numbers import cardinal

HALF = r"(?P<half>[aApP])(?:\.[mM]\.?|[mM]\b)"
CLOCK = re.compile(
    rf"(?<![\d:.])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])(?: ?{HALF})?"
)
SPAN = re.compile(r"(\d:\d\d|\d ?[ap]\.?m\.?) ?-+ ?(?=\d)", re.IGNORECASE)
HOUR = re.compile(rf"(?<![\d:.,])(?P<hour>1[0-2]|0?[1-9])(?: ?(?:-+|to) ?(?P<last>1[0-2]|0?[1-9]))? ?{HALF}")


def expand_times(text: str) -> str:
    """Write every time of day in words, with A M and P M as letter names.

    Parameters
    ----------
    text : str
        `10:45 a.m.` becomes "ten forty five A M", `14:05` "fourteen oh five", `9:00` "nine o'clock". A full stop that
        also ends the sentence stays.

    Returns
    -------
    str
        The text with its times in words.
    """
    text = SPAN.sub(lambda m: f"{m[1]} to ", text)
    text = CLOCK.sub(lambda m: _clock(m) + _half(m), text)
    return HOUR.sub(_hour, text)


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match["hour"]), int(match["minute"])
    words = cardinal(hour)
    if minute:
        words += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif not match["half"] and not match["second"]:
        words += " o'clock" if 0 < hour <= 12 else " hundred hours"
    if match["second"]:
        seconds = int(match["second"])
        words += f" and {cardinal(seconds)} second{'s' if seconds != 1 else ''}"
    return words


def _hour(match: re.Match[str]) -> str:
    words = cardinal(int(match["hour"]))
    if match["last"]:
        words += f" to {cardinal(int(match['last']))}"
    return words + _half(match)


def _half(match: re.Match[str]) -> str:
    if not match["half"]:
        return ""
    return f" {match['half'].upper()} M" + (kept_stop(match.string, match.end()) if match[0].endswith(".") else "")
