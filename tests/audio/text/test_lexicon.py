"""The shipped dictionary, the user's words on top, and how phones are written."""

import pytest

from fewstep.audio.text.build_lexicon import lexicon_lines
from fewstep.audio.text.lexicon import Lexicon, dictionary_words, parse_phones, pronunciations
from fewstep.audio.text.symbols import PHONES


def test_known_words_have_their_variants_default_first():
    assert pronunciations("tomato") == (("T", "AH0", "M", "EY1", "T", "OW2"), ("T", "AH0", "M", "AA1", "T", "OW2"))


def test_case_does_not_matter_and_apostrophes_do():
    assert pronunciations("Tom's") == (("T", "AA1", "M", "Z"),)
    assert pronunciations("TOM") == (("T", "AA1", "M"),)


def test_an_unknown_word_has_no_pronunciation():
    assert pronunciations("qwxyz") == ()


def test_every_entry_is_made_of_known_phones():
    words = dictionary_words()
    assert len(words) > 120_000
    assert {phone for word in words for variant in pronunciations(word) for phone in variant} <= set(PHONES)


def test_user_words_come_before_the_dictionary():
    lexicon = Lexicon({"Tomato": ["T AH0 M AA1 T OW2"], "nginx": "EH1 N JH IH0 N EH1 K S"})
    assert lexicon.pronunciations("tomato") == (("T", "AH0", "M", "AA1", "T", "OW2"),)
    assert lexicon.pronunciations("NGINX") == (("EH1", "N", "JH", "IH0", "N", "EH1", "K", "S"),)
    assert "nginx" in lexicon
    assert "nginx" not in Lexicon()
    assert lexicon.own("hello") == ()


def test_a_user_lexicon_file_may_hold_variants_and_comments(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("# mine\nnginx EH1 N JH\nNginx EH1 N # again\n\n", encoding="utf-8")
    assert Lexicon(file).pronunciations("nginx") == (("EH1", "N", "JH"), ("EH1", "N"))


def test_a_line_without_phones_is_named(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("hello HH AH0 L OW1\nnginx\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"words.txt, line 2: expected 'word phones', got 'nginx'"):
        Lexicon(file)


def test_a_wrong_phone_in_a_user_lexicon_is_named():
    with pytest.raises(ValueError, match="'QQ' is not an ARPAbet phone"):
        Lexicon({"nginx": "EH1 QQ"})


@pytest.mark.parametrize(
    "text, phones",
    [
        ("HH AH0 L OW1", ("HH", "AH0", "L", "OW1")),
        ("hh ah l ow", ("HH", "AH1", "L", "OW0")),
        ("hh ah l ow1", ("HH", "AH0", "L", "OW1")),
        ("S", ("S",)),
    ],
)
def test_stress_digits_may_be_left_out(text, phones):
    assert parse_phones(text) == phones


@pytest.mark.parametrize("text", ["HH1", "AH3", "HELLO", "ʌ"])
def test_what_is_no_phone_is_named(text):
    with pytest.raises(ValueError, match="is not an ARPAbet phone; known are AA .* ZH"):
        parse_phones("HH " + text)


def test_no_phones_at_all_are_refused():
    with pytest.raises(ValueError, match="expected ARPAbet phones such as"):
        parse_phones("  ")


def test_the_recipe_merges_variants_and_drops_what_is_no_word():
    dictionary = ["a AH0", "a(2) EY1", "a. EY1", "aix-en-provence EY1", "ab AE1 B # comment", "ab(2) AE1 B", ""]
    assert lexicon_lines(dictionary) == ["a\tAH0\tEY1", "ab\tAE1 B"]
