"""Sentence ends, and long sentences parted at pauses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewstep.audio.text.sentences import split_sentences

CASES = [
    ("One. Two.", ["One.", "Two."]),
    ("One! Two? Three…", ["One!", "Two?", "Three…"]),
    ("Dr. Smith came. He left.", ["Dr. Smith came.", "He left."]),
    ("James T. Kirk is here. So am I.", ["James T. Kirk is here.", "So am I."]),
    ("J. R. R. Tolkien wrote it.", ["J. R. R. Tolkien wrote it."]),
    ("It costs 3.50 dollars. Buy it.", ["It costs 3.50 dollars.", "Buy it."]),
    ("We use e.g. apples. Fine.", ["We use e.g. apples.", "Fine."]),
    ("Apples, pears, etc. are fruit.", ["Apples, pears, etc. are fruit."]),
    ("Apples, etc. The rest is gone.", ["Apples, etc.", "The rest is gone."]),
    ("He lives in the U.S. Army base.", ["He lives in the U.S. Army base."]),
    ("He lives in the U.S. She does not.", ["He lives in the U.S.", "She does not."]),
    ("Come at 10 a.m. tomorrow. Bye.", ["Come at 10 a.m. tomorrow.", "Bye."]),
    ("Come at 10 a.m. The door is open.", ["Come at 10 a.m.", "The door is open."]),
    ("See No. 7. It is good.", ["See No. 7.", "It is good."]),
    ("“Stop!” he cried. She stopped.", ["“Stop!” he cried.", "She stopped."]),
    ("He said “Stop.” She stopped.", ["He said “Stop.”", "She stopped."]),
    ("On Jan. 3 we met. It snowed.", ["On Jan. 3 we met.", "It snowed."]),
    ("A title\n\nThe text\ngoes on.", ["A title", "The text goes on."]),
    ("Main St. is long. Go on.", ["Main St. is long.", "Go on."]),
    ("What?! No...", ["What?!", "No..."]),
    ("wait... what", ["wait... what"]),
    ("no stop", ["no stop"]),
    ("", []),
    (" \n\n ", []),
]


@pytest.mark.parametrize("text, sentences", CASES)
def test_splits_where_a_reader_would(text, sentences):
    assert split_sentences(text) == sentences


def test_long_sentences_part_at_the_strongest_pause():
    text = "the first part of it is here, with a comma; the second part of it is here, with another comma"
    assert split_sentences(text, max_chars=60) == [
        "the first part of it is here, with a comma;",
        "the second part of it is here, with another comma",
    ]


def test_long_sentences_part_before_conjunctions():
    text = "the dog went out to the field and the cat stayed in the house"
    assert split_sentences(text, max_chars=40) == [
        "the dog went out to the field",
        "and the cat stayed in the house",
    ]


def test_inline_phones_stay_whole():
    text = "we say it like this [[ HH AH0 L OW1 ]] and go on"
    assert any("[[ HH AH0 L OW1 ]]" in piece for piece in split_sentences(text, max_chars=30))


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="abc ,.;!?'\n\"()-…AI3", max_size=300), st.integers(1, 60))
def test_nothing_is_lost_and_nothing_is_too_long(text, max_chars):
    pieces = split_sentences(text, max_chars=max_chars)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= max_chars for piece in pieces)


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="max_chars must be at least 1, got 0"):
        split_sentences("text", max_chars=0)
