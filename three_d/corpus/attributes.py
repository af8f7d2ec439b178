"""What can be said of each kind of shape, and what a prompt says: the answers that a judge of shapes chooses from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fewstep.three_d.corpus.draft import COLOURS

NONE = "none"
"""Answer to an attribute of which nothing can be said: a middling size, no arms, no chimney."""

_COLOURS = tuple(COLOURS)
_LEGS, _ARMS = ("one", "three", "four"), (NONE, "arms")

ATTRIBUTES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "chair": {
        "size": (NONE, "tall", "wide"), "height": (NONE, "low", "high"), "seat": ("square", "round"), "legs": _LEGS,
        "back": ("solid", "slatted", "ladder", "round"), "arms": _ARMS,
    },
    "table": {
        "size": (NONE, "low", "tall"), "top": ("round", "square", "long"), "legs": _LEGS, "shelf": (NONE, "shelf"),
    },
    "lamp": {
        "style": ("floor", "desk", "bent"), "shade": ("pointed", "straight", "dome", "round"),
        "width": (NONE, "narrow", "wide"), "legs": (NONE, "three"),
    },
    "mug": {
        "size": (NONE, "wide", "tall"), "form": ("straight", "tapered", "round"), "handles": ("one", "two"),
        "handle": ("round", "square"),
    },
    "plane": {
        "size": (NONE, "long", "wide"), "wings": ("straight", "swept", "delta"),
        "engines": (NONE, "two", "four", "propeller"),
    },
    "house": {
        "size": (NONE, "wide", "tall"), "roof": ("gable", "hip", "flat"), "chimney": (NONE, "chimney"),
    },
    "bench": {
        "size": (NONE, "low", "tall"), "back": ("backless", "solid", "slatted"), "legs": ("two", "four"), "arms": _ARMS,
    },
    "shelf": {
        "size": (NONE, "tall", "wide"), "behind": ("open", "closed"), "boards": ("three", "four", "five", "six"),
        "divided": (NONE, "divided"),
    },
    "bottle": {
        "size": (NONE, "narrow", "wide"), "neck": (NONE, "short", "long"), "part": (NONE, "cap", "label"),
        "form": ("straight", "round", "square", "tapered"),
    },
    "car": {"size": (NONE, "low", "tall"), "style": ("sedan", "van", "pickup")},
}  # fmt: skip
"""Names and answers by kind; each kind has ``colour`` and ``second`` (of `SECOND`) besides."""

SECOND: Mapping[str, tuple[str, ...]] = {
    "chair": ("legs",), "table": ("legs",), "lamp": ("shade",), "mug": ("handles",), "plane": ("wings",),
    "house": ("roof",), "bench": ("legs",), "shelf": ("boards",), "bottle": ("cap", "label"), "car": ("wheels",),
}  # fmt: skip
"""Nouns of the part that has the second colour."""

_HEAD: Mapping[str, tuple[str, ...]] = {  # attributes that stand before the class word
    "chair": ("size",), "table": ("size", "top"), "lamp": ("style",), "mug": ("size", "form"), "plane": ("size",),
    "house": ("size",), "bench": ("size", "back"), "shelf": ("size", "behind", "divided"), "bottle": ("size", "form"),
    "car": ("size", "style"),
}  # fmt: skip
_PARTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {  # and those that stand before a part
    "chair": {"legs": ("legs",), "back": ("height", "back"), "seat": ("seat",), "arms": ("arms",)},
    "table": {"legs": ("legs",), "boards": ("shelf",)},
    "lamp": {"shade": ("shade", "width"), "legs": ("legs",)},
    "mug": {"handles": ("handles", "handle")},
    "plane": {"wings": ("wings",), "engines": ("engines",), "propeller": ("engines",)},
    "house": {"roof": ("roof",), "chimney": ("chimney",)},
    "bench": {"legs": ("legs",), "back": ("back",), "arms": ("arms",)},
    "shelf": {"boards": ("boards",)},
    "bottle": {"neck": ("neck",), "cap": ("part",), "label": ("part",)},
    "car": {"wheels": ()},
}
_BARE = {
    "arms": "arms",
    "boards": "shelf",
    "propeller": "propeller",
    "chimney": "chimney",
    "cap": "cap",
    "label": "label",
}
_NOUNS = frozenset(
    ("legs", "back", "seat", "arms", "boards", "handles", "shade", "wings", "engines", "propeller", "roof", "chimney",
     "wheels", "cap", "label", "neck")
)  # fmt: skip


def answers(kind: str) -> dict[str, tuple[str, ...]]:
    """All attributes of a kind, colours included, with their possible values."""
    return {"colour": _COLOURS, "second": _COLOURS, **ATTRIBUTES[kind]}


def complete(kind: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a shape with `NONE` where nothing is said."""
    return {name: attributes.get(name, values[0]) for name, values in answers(kind).items()}


def said(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What the words of a prompt ask for.

    Parameters
    ----------
    words
        Of `fewstep.three_d.text.Prompt`.

    Returns
    -------
    kind : str
        Class word.
    attributes : dict
        Of `answers`, those that the words name; words that mean nothing of this kind are passed over.
    """
    at = next(i for i, word in enumerate(words) if word in ATTRIBUTES)
    kind = words[at]
    found: dict[str, str] = {}
    _take(words[:at], kind, _HEAD[kind], "colour", found)
    open_words: list[str] = []
    for word in words[at + 1 :]:
        if word not in _NOUNS:
            open_words.append(word)
            continue
        second = "second" if word in SECOND[kind] else ""
        names = _PARTS[kind].get(word, ())
        bare = [_BARE[word]] if word in _BARE else []
        _take([*open_words, *bare], kind, names, second, found)
        open_words = []
    _take(open_words, kind, _HEAD[kind], "colour", found)
    return kind, found


def _take(words: Iterable[str], kind: str, names: Sequence[str], colour: str, found: dict[str, str]) -> None:
    """Put each word under the attribute that has it as a value."""
    for word in words:
        if word in COLOURS:
            if colour:
                found.setdefault(colour, word)
            continue
        for name in names:
            if word in ATTRIBUTES[kind][name]:
                found.setdefault(name, word)
                break


__all__ = ["ATTRIBUTES", "NONE", "SECOND", "answers", "complete", "said"]
