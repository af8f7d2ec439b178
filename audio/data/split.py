"""Which phrases are trained on, watched during training, and kept for the final evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from fewstep.audio.data.features import Item


@dataclass(frozen=True)
class Split:
    """Items by use. All takes of one phrase are on the same side."""

    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    test: tuple[Item, ...]


def split_by_phrase(items: list[Item], *, test: int = 40, validation: int = 8) -> Split:
    """The last `test` phrases, sorted by the name of their first take, are the test set; those before, validation.

    A phrase is a transcript: recordings with the same text never end up on two sides.

    Raises
    ------
    ValueError
        If too few phrases remain for training.
    """
    phrases: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda i: i.name):
        phrases.setdefault(" ".join(item.text.lower().split()), []).append(item)
    ordered = list(phrases.values())
    if len(ordered) <= test + validation:
        raise ValueError(f"{len(ordered)} phrases cannot spare {test} for test and {validation} for validation")
    cut, end = len(ordered) - test - validation, len(ordered) - test
    flat = [
        tuple(item for takes in part for item in takes) for part in (ordered[:cut], ordered[cut:end], ordered[end:])
    ]
    return Split(*flat)
