"""What a careful reader of American English says for each kind of writing."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewstep.audio.text.normalize import normalize

GROUPS = Path(__file__).with_name("normalize_cases.txt").read_text(encoding="utf-8").split("\n## ")[1:]
CASES = [
    pytest.param(*(side.strip() for side in line.split(" => ")), id=f"{group.splitlines()[0]}: {line.split(' => ')[0]}")
    for group in GROUPS
    for line in group.splitlines()[1:]
    if line.strip()
]
ALPHABET = set(string.ascii_letters + "' ,.?!;:-")


@pytest.mark.parametrize("written, spoken", CASES)
def test_is_read_as(written, spoken):
    assert normalize(written.replace("\\n", "\n")) == spoken


@pytest.mark.parametrize("spoken", sorted({case.values[1] for case in CASES}))
def test_leaves_spoken_text_alone(spoken):
    assert normalize(spoken) == spoken


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_any_unicode_becomes_the_closed_alphabet(text):
    assert set(normalize(text)) <= ALPHABET


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="0123456789.,:-/$%'\" aAmpMIVXst°&#@+x()\n", max_size=40))
def test_any_mixture_of_digits_and_signs_is_read(text):
    result = normalize(text)
    assert set(result) <= ALPHABET
    assert any(c.isdigit() for c in text) <= bool(result)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["hello", "world", "don't", "the", "cat's", "read", "elephant", "co"]), min_size=1))
def test_is_idempotent_on_plain_words(words):
    text = " ".join(words) + "."
    assert normalize(text) == text


def test_a_long_text_is_read_to_its_end():
    text = "On Jan. 3rd, 2024 the U.S. paid $3.50 to Dr. Smith (No. 7). " * 170
    assert normalize(text).count("three dollars and fifty cents") == 170


@pytest.mark.parametrize("text", ["", "   ", "...", "?!", "\n\n", "()", "'", "-"])
def test_nothing_to_say_is_empty(text):
    assert normalize(text) == ""


@pytest.mark.parametrize(
    "piece", ["1", ".", "1.", '5" ', "a-", "1-", "www.a-", "A.", "$1-", "'", "[", "3:", "1/", "é😀"]
)
def test_ten_thousand_characters_of_one_kind_are_read(piece):
    text = normalize(piece * (10_000 // len(piece)))
    assert set(text) <= ALPHABET
    assert bool(text) == any(character.isalnum() for character in piece)
