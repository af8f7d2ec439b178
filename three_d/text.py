"""Prompts as numbers of words of a small closed vocabulary; words that it lacks are named, never guessed at."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import numpy as np

from fewstep.core.errors import UsageError

LENGTH = 16
KINDS = ("chair", "table", "lamp", "mug", "plane", "house", "bench", "shelf", "bottle", "car")
# Only ever append: a word's number, its place from 1, is what the weights know it by.
VOCABULARY = (
    *KINDS,
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "grey", "black",
    "tall", "low", "wide", "narrow", "long", "short", "high",
    "round", "square", "straight", "tapered", "pointed", "dome", "flat", "gable", "hip", "swept", "delta",
    "solid", "slatted", "ladder", "backless", "open", "closed", "divided",
    "floor", "desk", "bent", "sedan", "van", "pickup",
    "one", "two", "three", "four", "five", "six",
    "legs", "back", "seat", "arms", "boards", "handles", "shade", "wings", "engines", "propeller", "roof", "chimney",
    "wheels", "cap", "label", "neck",
)  # fmt: skip
IDS = {word: number for number, word in enumerate(VOCABULARY, 1)}

_SAME = {
    "chair": "stool", "lamp": "light lantern", "mug": "cup beaker",
    "plane": "aeroplane airplane aircraft jet jetliner airliner", "house": "home cottage hut building villa",
    "bench": "benches sofa couch settee pew", "shelf": "bookcase bookshelf shelves bookshelves bookcases rack shelving",
    "bottle": "flask", "car": "automobile vehicle auto truck lorry minivan",
    "red": "crimson scarlet", "yellow": "golden gold", "blue": "navy azure", "purple": "violet lilac",
    "pink": "rose magenta", "brown": "wooden wood chestnut", "grey": "gray silver", "black": "dark", "orange": "amber",
    "tall": "towering", "low": "squat", "wide": "broad fat", "narrow": "slim thin slender", "long": "elongated",
    "high": "raised", "round": "circular spherical bulbous globe ball", "square": "rectangular boxy cubic",
    "straight": "cylindrical drum", "tapered": "conical cone", "pointed": "triangular", "dome": "domed hemispherical",
    "gable": "gabled pitched", "hip": "hipped", "swept": "sweptback", "delta": "deltoid", "solid": "full",
    "slatted": "slats barred", "ladder": "rungs", "divided": "partitioned", "floor": "standing", "desk": "bedside",
    "bent": "angled jointed", "sedan": "saloon", "van": "minibus bus", "pickup": "pick-up", "legs": "leg",
    "back": "backrest backs", "seat": "seats", "arms": "arm armrest armrests", "boards": "board plank planks",
    "handles": "handle ear ears", "shade": "lampshade shades", "wings": "wing", "engines": "engine motor motors",
    "propeller": "propellers prop", "roof": "roofs", "chimney": "chimneys", "wheels": "wheel tyres tires tyre tire",
    "cap": "lid stopper cork caps", "label": "sticker labels", "neck": "necks", "one": "1 single",
    "two": "2 double", "three": "3 triple", "four": "4", "five": "5", "six": "6",
}  # fmt: skip
_FOLD = {word: to.strip() for to, words in _SAME.items() for word in words.split()}
_FOLD |= {kind + "s": kind for kind in KINDS if kind not in ("bench", "shelf")}
_MORE = {
    "armchair": ("chair", "arms"), "truck": ("pickup", "car"), "lorry": ("pickup", "car"), "minivan": ("van", "car"),
}  # fmt: skip
_ALONE = {"sedan": "car", "van": "car", "pickup": "car", "desk": "table"}  # name a class if nothing else does
_STOP = frozenset(
    """a an the and with of on in at its it is has have having that which some please make me model 3d shape object
    coloured colored painted very style styled shaped made from for by to""".split()  # noqa: SIM905
)
_HEAD = frozenset(("with", "having", "has", "on", "that", "which", "and", "without", "no"))
_PARTS = frozenset(VOCABULARY[VOCABULARY.index("legs") :])


@dataclass(frozen=True)
class Prompt:
    """A prompt that was understood.

    Parameters
    ----------
    ids
        Numbers of words, int64 [LENGTH]; 0 is padding.
    words
        Those words.
    ignored
        What the vocabulary lacks.
    notes
        For people.
    """

    ids: np.ndarray
    words: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def encode(prompt: str) -> Prompt:
    """Words of a prompt by number.

    Case, plurals and common synonyms are folded, words that say nothing dropped.

    Parameters
    ----------
    prompt
        Such as ``"a tall red chair with four white legs"``.

    Returns
    -------
    Prompt

    Raises
    ------
    UsageError
        If it is empty, or names none of the ten kinds.
    """
    raw = re.findall(r"[a-z0-9]+(?:-[a-z]+)*", prompt.lower())
    if not raw:
        raise UsageError(f'the prompt is empty: say what to make, such as "a red chair"; kinds: {", ".join(KINDS)}')
    notes: list[str] = []
    ignored: list[str] = []
    words, head = _folded(raw, ignored, notes)
    words = _one_kind(words, head, raw, notes)
    words = [word for i, word in enumerate(words) if i == 0 or word != words[i - 1]]
    if ignored:
        notes.append(f"not in the vocabulary, ignored: {', '.join(dict.fromkeys(ignored))}")
    if len(words) > LENGTH:
        notes.append(f"only the first {LENGTH} words are used; left out: {' '.join(words[LENGTH:])}")
        words = words[:LENGTH]
    ids = np.zeros(LENGTH, np.int64)
    ids[: len(words)] = [IDS[word] for word in words]
    return Prompt(ids, tuple(words), tuple(dict.fromkeys(ignored)), tuple(notes))


def _folded(raw: list[str], ignored: list[str], notes: list[str]) -> tuple[list[str], int]:
    """Words of the vocabulary, and how many stand before the first preposition."""
    words: list[str] = []
    head, skipping = None, False
    for token in _split(raw):
        if token in _HEAD and words and head is None:
            head = len(words)
        if token in ("without", "no"):
            skipping = True
        elif token in _MORE:
            words += _MORE[token]
        elif token not in _STOP:
            word = token if token in IDS else _FOLD.get(token, "")
            if skipping and (word in _PARTS or not word):
                skipping = False
                if word == "back":
                    words.insert(head or 0, "backless")
                    head = (head or 0) + 1
                elif word:
                    notes.append(f"without {word}: what is not there is left unsaid")
            elif word and not skipping:
                words.append(word)
            elif not word:
                ignored.append(token)
    return words, len(words) if head is None else head


def _split(raw: list[str]) -> list[str]:
    """Hyphenated words apart, unless they are known as a whole."""
    found: list[str] = []
    for token in raw:
        known = token in IDS or token in _FOLD or token in _MORE
        found += [token] if known else token.split("-")
    return found


def _one_kind(words: list[str], head: int, raw: list[str], notes: list[str]) -> list[str]:
    """The same with exactly one class word: the last one before the first preposition."""
    places = [i for i, word in enumerate(words) if word in KINDS]
    if not places:
        return _implied(words, head, raw)
    front = [i for i in places if i < head]
    chosen = front[-1] if front else places[0]
    kind, kept = words[chosen], []
    for i, word in enumerate(words):
        if i == chosen or word not in KINDS:
            kept.append("low" if word == "short" and words[i + 1 : i + 2] != ["neck"] else word)
        elif word == "table" and kind == "lamp":
            kept.append("desk")
        elif word == "shelf" and i > chosen and kind in ("shelf", "table"):
            kept.append("boards")
        elif word != kind:
            notes.append(f"one thing at a time: made the {kind}, left out the {word}")
    return kept


def _implied(words: list[str], head: int, raw: list[str]) -> list[str]:
    for word, kind in _ALONE.items():
        if word in words:
            at = words.index(word)
            return (
                [*words[:at], kind, *words[at + 1 :]] if word == "desk" else [*words[: at + 1], kind, *words[at + 1 :]]
            )
    near = [difflib.get_close_matches(token, KINDS, 1, 0.6) for token in raw]
    hint = next((f"; did you mean {found[0]}?" for found in near if found), "")
    raise UsageError(f"the prompt names none of the kinds{hint} (known: {', '.join(KINDS)})")


__all__ = ["IDS", "KINDS", "LENGTH", "VOCABULARY", "Prompt", "encode"]
