"""How the front end's tables of words are written: one string per row, split at blanks."""


def word_set(*rows: str) -> frozenset[str]:
    """Return the set of the blank-separated words of all rows."""
    return frozenset(word for row in rows for word in row.split())
