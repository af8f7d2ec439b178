"""Measures: `5 km`, `30 °C`, `60 mph`, `5'10"`, `5%`, `3 m²`, `10-12 kg`."""

import re

from .abbreviations import kept_stop
from .numbers import number
from .plain_numbers import FRACTION, NUMBER, say_amount
from .tables import word_set

# written: (singular, plural)
UNITS = {
    **{f"{prefix}m": (f"{name}meter", f"{name}meters") for prefix, name in
       (("k", "kilo"), ("c", "centi"), ("m", "milli"), ("n", "nano"), ("µ", "micro"), ("", ""))},
    **{f"{prefix}g": (f"{name}gram", f"{name}grams") for prefix, name in
       (("k", "kilo"), ("m", "milli"), ("µ", "micro"), ("", ""))},
    **{f"{prefix}{unit}": (f"{name}liter", f"{name}liters") for unit in "lL" for prefix, name in
       (("m", "milli"), ("c", "centi"), ("", ""))},
    **{f"{prefix}{unit}": (f"{name}{word}", f"{name}{word}{'' if word == 'hertz' else 's'}")
       for unit, word in (("Hz", "hertz"), ("W", "watt"), ("V", "volt"), ("J", "joule"), ("Pa", "pascal"))
       for prefix, name in (("k", "kilo"), ("M", "mega"), ("G", "giga"), ("m", "milli"), ("h", "hecto"), ("", ""))},
    **{f"{prefix}B": (f"{name}byte", f"{name}bytes") for prefix, name in
       (("k", "kilo"), ("K", "kilo"), ("M", "mega"), ("G", "giga"), ("T", "tera"))},
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "mA": ("milliamp", "milliamps"),
    "mAh": ("milliamp hour", "milliamp hours"),
    "kcal": ("kilocalorie", "kilocalories"),
    "cal": ("calorie", "calories"),
    "dB": ("decibel", "decibels"),
    "mph": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "m/s": ("meter per second", "meters per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "fps": ("frame per second", "frames per second"),
    "rpm": ("R P M", "R P M"),
    "bpm": ("beat per minute", "beats per minute"),
    "ppm": ("part per million", "parts per million"),
    "px": ("pixel", "pixels"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "yds": ("yard", "yards"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "fl oz": ("fluid ounce", "fluid ounces"),
    "gal": ("gallon", "gallons"),
    "tbsp": ("tablespoon", "tablespoons"),
    "tsp": ("teaspoon", "teaspoons"),
    "sq ft": ("square foot", "square feet"),
    "ha": ("hectare", "hectares"),
    "°C": ("degree celsius", "degrees celsius"),
    "° C": ("degree celsius", "degrees celsius"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"),
    "° F": ("degree fahrenheit", "degrees fahrenheit"),
    "°": ("degree", "degrees"),
    "ms": ("millisecond", "milliseconds"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "s": ("second", "seconds"),
    "%": ("percent", "percent"),
}  # fmt: skip
DOTTED = word_set("ft lb lbs oz mi yd yds sec secs min mins hr hrs gal tbsp tsp")
POWERS = {"²": "square ", "2": "square ", "³": "cubic ", "3": "cubic "}
_NAMES = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
MEASURE = re.compile(
    rf"(?<![\w./])(?P<minus>-)?(?P<amount>{FRACTION}|{NUMBER})(?: ?(?:-+|to) ?(?P<upto>{NUMBER}))?"
    rf"(?P<gap>[ -]?)(?P<unit>{_NAMES})(?P<power>[²³]|(?<=m)[23]\b)?(?![\w'°])(?P<dot>\.)?"
)
FEET_INCHES = re.compile(
    r"(?<![\w'.])(?:(\d+)' ?(\d+(?:\.\d+)?)(?:\"|''|(?=[\s.,;!?)]|$))|(\d+) ?ft\.? (\d+) ?in\b\.?)"
)
PER = re.compile(
    r"(?<=s)/(day|hour|week|month|year|minute|second|night|person|mile|gallon|lb|oz|kg|mg|km|gal|min|hr|h|s|l|L)\b"
)
FEET = re.compile(r"(?<![\w'.])(\d+)'(?![\w'])")
INCHES = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(?:\"|'')(?!\w)(?=[^\"]*(?:\"[^\"]*\"[^\"]*)*$)")
INCH_WORD = re.compile(rf"(?<![\w.])({NUMBER}) ?in\.(?=\s+[a-z]|\s*$|[,;)])")


def expand_units(text: str) -> str:
    """Write every measure in words, in the singular after one and after a hyphen.

    Parameters
    ----------
    text : str
        `5 km` becomes "five kilometers", `a 5-km run` "a five kilometer run", `5'10"` "five foot ten".

    Returns
    -------
    str
        The text with its measures in words.
    """
    text = FEET_INCHES.sub(lambda m: f"{number(m[1] or m[3])} foot {number(m[2] or m[4])}", text)
    text = INCHES.sub(_inches, text)
    text = FEET.sub(lambda m: f"{number(m[1])} {'foot' if m[1] == '1' else 'feet'}", text)
    text = MEASURE.sub(_measure, text)
    text = INCH_WORD.sub(lambda m: _inches(m) + kept_stop(m.string, m.end()), text)
    text = PER.sub(lambda m: f" per {UNITS[m[1]][0] if m[1] in UNITS else m[1]}", text)
    text = re.sub(rf"(?<![\w.])({NUMBER}) ?x ?(?={NUMBER})", r"\1 by ", text)
    return re.sub(r"(?<![\w.])(\d+)x\b", r"\1 times", text)


def _inches(match: re.Match[str]) -> str:
    return f"{number(match[1])} {'inch' if match[1] == '1' else 'inches'}"


def _measure(match: re.Match[str]) -> str:
    unit, amount = match["unit"], match["amount"]
    if unit == "s" and not match["gap"]:
        return match[0]
    below_two = amount == "1" or ("/" in amount and " " not in amount)
    singular = (below_two and not match["upto"]) or match["gap"] == "-"
    words = ("minus " if match["minus"] else "") + say_amount(amount)
    if match["upto"]:
        words += f" to {number(match['upto'])}"
    dot = match["dot"] or ""
    if unit in DOTTED and dot:
        dot = kept_stop(match.string, match.end())
    return f"{words} {POWERS.get(match['power'] or '', '')}{UNITS[unit][not singular]}{dot}"
