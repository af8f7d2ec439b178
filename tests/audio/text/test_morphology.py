"""Unknown words whose parts are known."""

import pytest

from fewstep.audio.text.lexicon import Lexicon, default_lexicon
from fewstep.audio.text.morphology import by_parts

WORDS = {
    "selden's": "S EH1 L D AH0 N Z",
    "pearce's": "P IH1 R S IH0 Z",
    "thorpe's": "TH AO1 R P S",
    "smartphone": "S M AA1 R T F OW2 N",
    "googling": "G UW1 G AH0 L IH0 NG",
    "springless": "S P R IH1 NG L AH0 S",
    "catlike": "K AE1 T L AY2 K",
    "there've": "DH EH1 R AH0 V",
}


@pytest.mark.parametrize("word, phones", WORDS.items())
def test_parts_make_the_word(word, phones):
    assert " ".join(by_parts(word, default_lexicon())) == phones


@pytest.mark.parametrize(
    "stem, word, ending",
    [
        ("D AE1 P", "zzdaps", "S"),
        ("D AE1 S", "zzdaps", "IH0 Z"),
        ("D AE1 B", "zzdaps", "Z"),
        ("D AE1 T", "zzdaped", "IH0 D"),
        ("D AE1 K", "zzdaped", "T"),
        ("D AE1 G", "zzdapped", "D"),
        ("D AE1 G", "zzdaping", "IH0 NG"),
    ],
)
def test_endings_follow_the_last_phone(stem, word, ending):
    assert " ".join(by_parts(word, Lexicon({"zzdap": stem}))) == f"{stem} {ending}"


@pytest.mark.parametrize("word", ["xqzt", "", "s", "ing", "zzzzes"])
def test_what_has_no_known_part_is_left_to_the_letters(word):
    assert by_parts(word, default_lexicon()) == ()
