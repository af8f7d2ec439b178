"""Written English -> spoken words: lower-case words, single capitals for letter names, and simple punctuation."""

import re


def normalize(text: str) -> str:
    """Write a text the way it is spoken."""
    return re.sub(r"[^a-z',.?!;: -]", " ", text.lower())
