"""The letter-to-sound model: its laws, and its accuracy on words that it has never seen."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewstep.audio.text.align_letters import best_alignment, learn_alignment
from fewstep.audio.text.letter_to_sound import default_model, letter_to_sound, pack, unpack
from fewstep.audio.text.lexicon import default_lexicon, dictionary_words
from fewstep.audio.text.symbols import CONSONANTS, PHONES
from fewstep.audio.text.train_letter_to_sound import (
    count_tables,
    edit_distance,
    evaluate,
    is_held_out,
    train,
    without_stress,
)


def test_held_out_words_are_mostly_right():
    words = [w for w in dictionary_words() if w.isalpha() and len(w) > 3 and is_held_out(w)][::16]
    scores = evaluate(default_model(), words, default_lexicon())
    assert len(words) > 300
    assert scores["words"] > 65
    assert scores["words with stress"] > 60
    assert scores["phones"] > 91
    assert scores["phones with stress"] > 88


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz'", min_size=1, max_size=24))
def test_any_letters_give_phones_with_at_most_one_primary_stress(word):
    phones = letter_to_sound(word)
    assert set(phones) <= set(PHONES)
    assert bool(phones) == any(letter.isalpha() for letter in word)
    if any(letter in "aeiouy" for letter in word):
        assert sum(phone.endswith("1") for phone in phones) == (not set(phones) <= set(CONSONANTS))


@pytest.mark.parametrize("word", ["bxuccg", "ub", "zzu"])
def test_a_lone_vowel_is_stressed(word):
    assert sum(phone.endswith("1") for phone in letter_to_sound(word)) == 1


def test_a_word_without_vowels_is_spelled():
    assert letter_to_sound("xkd") == ("EH1", "K", "S", "K", "EY1", "D", "IY1")


def test_a_very_long_word_is_read_in_pieces():
    assert len(letter_to_sound("abracadabra" * 90)) > 500


def test_alignment_finds_silent_letters_and_double_phones():
    words = {
        "knife": "N AY F",
        "knit": "N IH T",
        "fin": "F IH N",
        "fit": "F IH T",
        "fix": "F IH K S",
        "if": "IH F",
        "in": "IH N",
    }
    pairs = [(word, tuple(phones.split())) for word, phones in words.items()]
    probability = learn_alignment(pairs * 3, iterations=10)
    assert best_alignment("fix", ("F", "IH1", "K", "S"), probability) == [("F",), ("IH1",), ("K", "S")]
    assert best_alignment("knit", ("N", "IH1", "T"), probability) in (
        [(), ("N",), ("IH1",), ("T",)],
        [("N",), (), ("IH1",), ("T",)],
    )


def test_more_than_two_phones_per_letter_do_not_align():
    assert best_alignment("ab", ("T", "R", "IH", "P", "AH"), {}) is None


def test_counts_of_lower_orders_are_continuations():
    unigrams, bigrams = count_tables(["ab", "ab", "cb"], 2)
    assert bigrams == ["<a2", "<c1", "ab2", "b>3", "cb1"]
    assert unigrams == [">1", "a1", "b2", "c1"]


def test_a_trained_model_survives_packing_and_reads_its_words():
    aligned = {
        word: [(phones,) for phones in text.split()]
        for word, text in {"tat": "T AE1 T", "pap": "P AE1 P", "tap": "T AE1 P"}.items()
    }
    assert not any(is_held_out(word) for word in aligned)
    units, tables = train(aligned, order=3)
    assert units == [("a", ("AE1",)), ("p", ("P",)), ("t", ("T",))]
    model = unpack(pack(units, tables))
    assert model.pronounce("pat") == ("P", "AE1", "T")
    assert model.pronounce("t!p") == ("T", "P")


@pytest.mark.parametrize("first, second, distance", [("A B C", "A B C", 0), ("A B C", "A C", 1), ("A", "B C", 2)])
def test_edit_distance_counts_changes(first, second, distance):
    assert edit_distance(tuple(first.split()), tuple(second.split())) == distance


def test_stress_is_taken_off():
    assert without_stress(("HH", "AH0", "L", "OW1")) == ("HH", "AH", "L", "OW")
