"""One spoken word -> its pronunciations: letter name, lexicon, known parts, and at last letter-to-sound."""

from .letter_to_sound import letter_to_sound
from .letters import LETTER_NAMES
from .lexicon import Lexicon, Pronunciation
from .morphology import by_parts, inflection


def pronounce(word: str, lexicon: Lexicon) -> tuple[tuple[Pronunciation, ...], bool]:
    """Return all variants of a normalised word, and whether they were guessed.

    Parameters
    ----------
    word : str
        One word as `normalize` writes it: lower case with apostrophes, or one capital for the name of a letter.
    lexicon : Lexicon
        The dictionary to look in first.

    Returns
    -------
    variants : tuple of tuple of str
        At least one pronunciation, the default first.
    guessed : bool
        True when the phones come from the letter-to-sound model.
    """
    if word[0].isupper() and word[1:] in ("", "'s"):
        name = LETTER_NAMES[word[0].lower()]
        return (name + inflection(word[1:], name[-1]) if word[1:] else name,), False
    word = word.lower()
    bare = word.strip("'")
    known = lexicon.pronunciations(word) or lexicon.pronunciations(bare)
    if known:
        return known, False
    parts = by_parts(bare, lexicon)
    if parts:
        return (parts,), False
    return (letter_to_sound(bare),), True
