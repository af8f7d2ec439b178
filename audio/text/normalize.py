"""Written English -> spoken words, by one small pass per kind of writing (Sproat et al., "Normalization of non-standard
words", 2001). The result holds lower-case words, single capitals for the names of letters, and , . ? ! ; : -
"""

from .abbreviations import expand_abbreviations
from .acronyms import expand_acronyms, split_digits
from .clean import clean
from .dates import expand_dates
from .money import expand_money
from .plain_numbers import expand_plain_numbers, expand_scientific
from .punctuation import plain_punctuation
from .roman import expand_roman
from .signs import expand_signs
from .times import expand_times
from .units import expand_units
from .web import expand_web

PASSES = (
    expand_web,
    expand_scientific,
    expand_dates,
    expand_times,
    expand_money,
    expand_units,
    expand_abbreviations,
    expand_roman,
    expand_signs,
    split_digits,
    expand_plain_numbers,
    expand_acronyms,
    plain_punctuation,
)


def normalize(text: str) -> str:
    """Write a text the way it is spoken in American English.

    Parameters
    ----------
    text : str
        Any Unicode text.

    Returns
    -------
    str
        Words of `a-z` and apostrophes, single capitals (the names of letters), and the marks `, . ? ! ; : -`. Empty if
        nothing can be said.

    Examples
    --------
    >>> normalize("Dr. Smith paid $3.50 at 10:45 a.m.")
    'doctor smith paid three dollars and fifty cents at ten forty five A M.'
    """
    text, _ = clean(text)
    for expand in PASSES:
        text = expand(text)
    return text
