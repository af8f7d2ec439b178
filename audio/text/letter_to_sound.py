"""Pronounce a word that no dictionary holds, from its letters."""

from .letters import spell
from .lexicon import Pronunciation


def letter_to_sound(word: str) -> Pronunciation:
    """Return phones for any word of letters."""
    return spell(word)
