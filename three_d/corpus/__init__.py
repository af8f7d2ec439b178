"""Procedural shapes of ten classes, each of exact parts, with captions that say what is true of them."""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.corpus.draft import COLOURS, Draft
from fewstep.three_d.corpus.furniture import bench, chair, shelf, table
from fewstep.three_d.corpus.houses import house
from fewstep.three_d.corpus.shape import Part, Shape
from fewstep.three_d.corpus.vehicles import car, plane
from fewstep.three_d.corpus.vessels import bottle, lamp, mug

_BUILDERS = {
    "chair": chair, "table": table, "lamp": lamp, "mug": mug, "plane": plane, "house": house, "bench": bench,
    "shelf": shelf, "bottle": bottle, "car": car,
}  # fmt: skip
CLASSES = tuple(_BUILDERS)


def make(index: int, *, seed: int = 0, kind: str | None = None) -> Shape:
    """A shape by number.

    Parameters
    ----------
    index
        At least 0.
    seed
        0 is trained on, 1 is held out.
    kind
        One of `CLASSES`; None: drawn.

    Returns
    -------
    Shape
        One solid piece, its box's longest side 0.9, its parts at least 0.045 thick.

    Raises
    ------
    UsageError
        If the number or the class is not one.
    """
    if index < 0 or seed < 0:
        raise UsageError(f"expected an index and a seed of at least 0, got {index} and {seed}")
    if kind is not None and kind not in CLASSES:
        raise UsageError(f"kind {kind!r}: expected one of {', '.join(CLASSES)}")
    generator = np.random.default_rng((seed, index))
    drawn = CLASSES[int(generator.integers(len(CLASSES)))]
    draft = Draft(generator, kind or drawn)
    _BUILDERS[draft.kind](draft)
    return draft.shape()


__all__ = ["CLASSES", "COLOURS", "Part", "Shape", "make"]
