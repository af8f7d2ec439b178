"""Text -> tokens: the contract of the tokens, and what readers would notice."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewstep.audio.text.frontend import EmptyText, Phones, Word, phonemize, words_with_variants
from fewstep.audio.text.lexicon import Lexicon
from fewstep.audio.text.symbols import PHONES, PUNCTUATION, SEPARATORS, SPACE, START


def says(text: str, **options) -> str:
    return " ".join("|" if token == SPACE else token for token in phonemize(text, **options).tokens)


def check_contract(phones: Phones) -> None:
    tokens = phones.tokens
    assert tokens[0] == START
    assert tokens[-1] in PUNCTUATION
    separators = [i for i, token in enumerate(tokens) if token in SEPARATORS]
    assert all(b - a > 1 for a, b in itertools.pairwise(separators))
    assert [(a + 1, b) for a, b in itertools.pairwise(separators)] == [(word.start, word.end) for word in phones.words]
    assert all(token in PHONES for word in phones.words for token in tokens[word.start : word.end])


def test_a_sentence_becomes_phones_with_one_separator_between_words():
    phones = phonemize("Hi, Tom")
    assert phones == Phones(("^", "HH", "AY1", ",", "T", "AA1", "M", "."), (Word("hi", 1, 3), Word("tom", 4, 7)))


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_any_unicode_keeps_the_contract_or_is_empty(text):
    try:
        phones = phonemize(text.replace("[[", ""))
    except EmptyText:
        return
    check_contract(phones)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="abcdeinorstAIX 0123456789.,'!?-–$%:/()\n", min_size=1, max_size=60))
def test_ordinary_characters_keep_the_contract(text):
    if not any(character.isalnum() for character in text):
        return
    phones = phonemize(text)
    check_contract(phones)
    assert phones.unknown == ()


def test_ten_thousand_characters_are_read():
    text = ("Dr. Smith's 12 antidisestablishmentarians paid $3.50, didn't they? " * 160)[:10_000]
    phones = phonemize(text)
    check_contract(phones)
    assert len(phones.words) > 1200


def test_a_thousand_letters_without_a_blank_are_read():
    check_contract(phonemize("blorptang" * 111))


@pytest.mark.parametrize("text", ["", "  \n", "...", "?!", "😀", "\x00", "(—)", "'"])
def test_nothing_to_say_is_an_error(text):
    with pytest.raises(EmptyText, match="nothing to say: expected text with at least one word, got"):
        phonemize(text)


def test_unknown_characters_are_skipped_and_reported_once():
    phones = phonemize("Hello 😀😀 world\x07 你 😀")
    assert phones.unknown == ("😀", "\x07", "你")
    assert [word.text for word in phones.words] == ["hello", "world"]


def test_guessed_words_are_reported_once():
    assert phonemize("The blorptang and the blorptang").guessed == ("blorptang",)


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("Say [[ T AH0 M AA1 T OW0 ]], please", "^ S EY1 | T AH0 M AA1 T OW0 , P L IY1 Z ."),
        ("[[hh ah l ow]]!", "^ HH AH1 L OW0 !"),
        ("the FBI's", "^ DH IY0 | EH1 F | B IY1 | AY1 Z ."),
        ("A B C", "^ EY1 | B IY1 | S IY1 ."),
        ("a cat", "^ AH0 | K AE1 T ."),
        ("What?!", "^ W AH1 T ?"),
        ("no - yes", "^ N OW1 - Y EH1 S ."),
        ("yes,", "^ Y EH1 S ."),
        ("'Hello'", "^ HH AH0 L OW1 ."),
    ],
)
def test_tokens_of(text, tokens):
    assert says(text) == tokens


@pytest.mark.parametrize(
    "text, phones",
    [
        ("the apple", "DH IY0"),
        ("the dog", "DH AH0"),
        ("the hour", "DH IY0"),
        ("the one", "DH AH0"),
        ("I | can see", "K AH0 N"),
        ("yes I | can", "K AE1 N"),
        ("a | can of it", "K AE1 N"),
        ("to eat", "T UW1"),
        ("to go", "T AH0"),
        ("He will | read it", "R IY1 D"),
        ("She has | read it", "R EH1 D"),
        ("a | record", "R EH1 K ER0 D"),
        ("to | record it", "R AH0 K AO1 R D"),
        ("I | live here", "L IH1 V"),
        ("a | live show", "L AY1 V"),
        ("the | use of it", "Y UW1 S"),
        ("they | use it", "Y UW1 Z"),
        ("they | separate them", "S EH1 P ER0 EY2 T"),
        ("a | lead pipe", "L EH1 D"),
        ("they | lead us", "L IY1 D"),
        ("the | wind blew", "W IH1 N D"),
        ("to | wind up", "W AY1 N D"),
        ("to | close it", "K L OW1 Z"),
        ("very | close to", "K L OW1 S"),
        ("they | tear it", "T EH1 R"),
        ("a | tear fell", "T IH1 R"),
        ("our | lives are", "L AY1 V Z"),
        ("he | lives here", "L IH1 V Z"),
        ("the | wound healed", "W UW1 N D"),
        ("it | wound around", "W AW1 N D"),
        ("a | bow tie", "B OW1"),
        ("she | dove into", "D OW1 V"),
        ("the | dove flew", "D AH1 V"),
        ("her | tears fell", "T IH1 R Z"),
        ("she | tears it", "T EH1 R Z"),
    ],
)
def test_homographs_and_weak_forms_follow_their_neighbours(text, phones):
    before, bar, after = text.partition("| ")
    index = len(before.split()) if bar else 0
    spoken = phonemize(before + after)
    word = spoken.words[index]
    assert " ".join(spoken.tokens[word.start : word.end]) == phones


def test_a_wrong_inline_phone_is_named():
    with pytest.raises(ValueError, match="'HELLO' is not an ARPAbet phone"):
        phonemize("Say [[ HELLO ]]")


def test_inline_phones_must_hold_something():
    with pytest.raises(ValueError, match="expected ARPAbet phones"):
        phonemize("Say [[ ]]")


def test_the_users_lexicon_comes_first():
    assert says("tomato", lexicon=Lexicon({"tomato": "T AH0 M AA1 T OW2"})) == "^ T AH0 M AA1 T OW2 ."


def test_variants_hold_the_choice_first_and_all_the_others():
    words = words_with_variants("The tomato, please")
    assert [(word.text, word.separator) for word in words] == [("the", " "), ("tomato", ","), ("please", ".")]
    assert words[1].variants == (("T", "AH0", "M", "EY1", "T", "OW2"), ("T", "AH0", "M", "AA1", "T", "OW2"))
    tokens = [START, *(token for word in words for token in (*word.variants[0], word.separator))]
    assert tuple(tokens) == phonemize("The tomato, please").tokens


def test_variants_of_nothing_are_an_error():
    with pytest.raises(EmptyText, match="nothing to say"):
        words_with_variants("...")


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="unknown backend 'festival'; choose from builtin, espeak, gruut"):
        phonemize("hello", backend="festival")


@pytest.mark.parametrize("backend, module", [("espeak", "phonemizer"), ("gruut", "gruut")])
def test_other_backends_keep_the_contract(backend, module):
    pytest.importorskip(module)
    phones = phonemize("Dr. Smith paid the FBI $3.50, didn't he?", backend=backend)
    check_contract(phones)
    assert [word.text for word in phones.words][:4] == ["doctor", "smith", "paid", "the"]
    assert says("measure", backend=backend) == "^ M EH1 ZH ER0 ."
    assert says("nginx", backend=backend, lexicon=Lexicon({"nginx": "EH1 N JH"})) == "^ EH1 N JH ."
