"""Prompts into numbers of words."""

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d.corpus import CLASSES
from fewstep.three_d.corpus.draft import COLOURS
from fewstep.three_d.text import _FOLD, _MORE, IDS, KINDS, LENGTH, VOCABULARY, encode


def test_the_vocabulary_is_closed_and_small():
    assert len(set(VOCABULARY)) == len(VOCABULARY) < 100
    assert KINDS == CLASSES
    assert set(COLOURS) <= set(VOCABULARY)
    assert set(_FOLD.values()) <= set(VOCABULARY)
    assert not set(_FOLD) & set(VOCABULARY)
    assert all(word in VOCABULARY for words in _MORE.values() for word in words)


def test_numbers_start_at_one_and_padding_is_zero():
    prompt = encode("A tall, red CHAIR with four white legs!")
    assert prompt.words == ("tall", "red", "chair", "four", "white", "legs")
    assert prompt.ids.dtype == np.int64
    assert prompt.ids.tolist() == [IDS[word] for word in prompt.words] + [0] * (LENGTH - 6)
    assert not prompt.ignored
    assert not prompt.notes


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("two chairs", "two chair"),
        ("an aeroplane with 2 engines", "plane two engines"),
        ("cup with lid", "mug cap"),
        ("table lamp", "desk lamp"),
        ("lamp on a table", "lamp desk"),
        ("a bookcase with four shelves", "shelf four boards"),
        ("a table with a shelf", "table boards"),
        ("sofa without a back", "backless bench"),
        ("a bench with no back and red legs", "backless bench red legs"),
        ("wooden desk", "brown table"),
        ("red van with black tyres", "red van car black wheels"),
        ("gray pick-up truck", "grey pickup car"),
        ("short table", "low table"),
        ("bottle with a short neck", "bottle short neck"),
        ("an armchair, crimson", "chair arms red"),
        ("blue-green mug", "blue green mug"),
    ],
)
def test_folding(prompt, words):
    if words.startswith("backless bench"):
        assert set(encode(prompt).words) == set(words.split())
    else:
        assert " ".join(encode(prompt).words) == words


def test_what_is_not_known_is_ignored_and_said():
    prompt = encode("a glorious chair of doom")
    assert prompt.words == ("chair",)
    assert prompt.ignored == ("glorious", "doom")
    assert any("glorious, doom" in note for note in prompt.notes)


def test_what_is_not_wanted_does_not_slip_in():
    prompt = encode("a house without a chimney and a red roof")
    assert prompt.words == ("house", "red", "roof")
    assert any("without chimney" in note for note in prompt.notes)


def test_one_thing_at_a_time():
    prompt = encode("a chair and a house")
    assert prompt.words == ("chair",)
    assert any("left out the house" in note for note in prompt.notes)


def test_long_prompts_are_cut_and_said():
    prompt = encode("red chair " + "with four white legs " * 10)
    assert len(prompt.words) == LENGTH
    assert any(f"first {LENGTH} words" in note for note in prompt.notes)


@pytest.mark.parametrize("empty", ["", "  ", "!?"])
def test_empty_prompts(empty):
    with pytest.raises(UsageError, match="the prompt is empty"):
        encode(empty)


def test_no_kind_names_the_nearest_and_all():
    with pytest.raises(UsageError, match="did you mean table.*known: chair, table"):
        encode("a red tabel")
    with pytest.raises(UsageError, match="names none of the kinds \\(known"):
        encode("a dragon")
