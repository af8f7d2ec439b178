"""Signs that are words: `&`, `+`, `=`, `@`, `#`, `%`, `/`, `<`, `>` and the signs of money and measure left alone."""

import re

SIGNS = (
    (re.compile(r"\bC\+\+"), "C plus plus"),
    (re.compile(r"\b([CF])#"), r"\1 sharp"),
    (re.compile(r"\b([ABCDF])\+(?!\w)"), r"\1 plus"),
    (re.compile(r"\b([ABCDF])-(?![\w-])"), r"\1 minus"),
    (re.compile(r"#\s?(?=\d)"), "number "),
    (re.compile(r"\b([A-Z]) ?& ?(?=[A-Z]\b)"), r"\1 and "),
    (re.compile(r"\bAT ?& ?T\b"), "A T and T"),
    (re.compile(r"&"), " and "),
    (re.compile(r"(?<=[\w.)]) *\+ *(?=[\w(])"), " plus "),
    (re.compile(r"(?<=\w)\s?\+(?!\w)"), " plus"),
    (re.compile(r"(?<=\d) - (?=\d+ ?=)"), " minus "),
    (re.compile(r"(?<=\d) ?\* ?(?=\d)"), " times "),
    (re.compile(r"(?<=[\w)]) ?= ?(?=[-\w(])"), " equals "),
    (re.compile(r"(?<=[\w)]) ?< ?(?=[-\d])|<(?=\d)"), " less than "),
    (re.compile(r"(?<=[\w)]) ?> ?(?=[-\d])|>(?=\d)"), " greater than "),
    (re.compile(r"(?<![\w~])~ ?(?=\w)"), "about "),
    (re.compile(r"@"), " at "),
    (re.compile(r"%"), " percent "),
    (re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), " slash "),
    (re.compile(r"(?<=\w)²"), " squared"),
    (re.compile(r"(?<=\w)³"), " cubed"),
    (re.compile(r"°"), " degrees "),
    (re.compile(r"µ"), " mu "),
    (re.compile(r"\$"), " dollar "),
    (re.compile(r"£"), " pound "),
    (re.compile(r"€"), " euro "),
    (re.compile(r"¥"), " yen "),
    (re.compile(r"₹"), " rupee "),
    (re.compile(r"¢"), " cent "),
)


def expand_signs(text: str) -> str:
    """Write signs as words where they stand between words or numbers.

    Parameters
    ----------
    text : str
        `Tom & Ann`, `5 + 3 = 8`, `#1`, `C++`.

    Returns
    -------
    str
        `Tom and Ann`, `5 plus 3 equals 8`, `number 1`, `C plus plus`.
    """
    for pattern, words in SIGNS:
        text = pattern.sub(words, text)
    return text
