"""Numbers in words, where the table of the normaliser does not reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewstep.audio.text.numbers import cardinal, digits, fraction, number, ordinal, year
from fewstep.audio.text.roman import roman_value

SMALL = {cardinal(n): n for n in range(1000)}
SCALES = ["thousand", "million", "billion", "trillion"]


@given(st.integers(0, 10**15 - 1))
def test_cardinals_say_their_number(n):
    total = group = 0
    words: list[str] = []
    for word in [*cardinal(n).split(), "end"]:
        if word in SCALES or word == "end":
            group = SMALL[" ".join(words)] if words else 0
            total += group * 1000 ** (SCALES.index(word) + 1 if word in SCALES else 0)
            words = []
        else:
            words.append(word)
    assert total == n


def test_very_large_numbers_are_read_digit_by_digit():
    assert cardinal(10**36) == "one" + 36 * " zero"
    assert cardinal(10**6000).startswith("one zero")
    assert cardinal(-3) == "minus three"


@pytest.mark.parametrize("n, words", [(1, "first"), (12, "twelfth"), (20, "twentieth"), (105, "one hundred fifth")])
def test_ordinals(n, words):
    assert ordinal(n) == words


@pytest.mark.parametrize(
    "n, words", [(476, "four hundred seventy six"), (3000, "three thousand"), (12000, "twelve thousand")]
)
def test_years_outside_the_usual_centuries(n, words):
    assert year(n) == words


def test_halves_and_quarters():
    assert [fraction(n, d) for n, d in ((1, 2), (3, 2), (3, 4), (1, 7), (2, 99))] == [
        "one half",
        "three halves",
        "three quarters",
        "one seventh",
        "two over ninety nine",
    ]


def test_digits_skip_what_is_no_digit():
    assert digits("1-0 2", zero="oh") == "one oh two"


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "--1", ",", "1e5"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="expected a number such as '1,234.5', got"):
        number(text)


@given(st.integers(1, 3999))
def test_roman_numerals_round_trip(n):
    values = zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"],
        strict=True,
    )
    numeral, rest = "", n
    for value, letters in values:
        numeral, rest = numeral + letters * (rest // value), rest % value
    assert roman_value(numeral) == n


@pytest.mark.parametrize("text", ["", "IIII", "VX", "ABC", "IC"])
def test_loose_roman_numerals_count_as_none(text):
    assert roman_value(text) == 0
