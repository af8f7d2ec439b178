"""A procedural shape: parts of primitives in their places, their colours, and what can truly be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fewstep.three_d.corpus.primitives import Axes, Point, Primitive
from fewstep.three_d.corpus.words import Clause, sentence

FIT = 0.9  # of the unit cube


@dataclass(frozen=True)
class Part:
    """A primitive in its place.

    Parameters
    ----------
    solid
        What.
    colour
        Key of the shape's colours.
    at
        Where its origin is.
    turn
        Rotation matrix, rows; None: none.
    mirror
        Axes across whose plane it is repeated, of "xz"; the part must lie on the positive side of each.
    paint
        Only colours what lies within it.
    """

    solid: Primitive
    colour: str
    at: Point = (0.0, 0.0, 0.0)
    turn: tuple[Point, Point, Point] | None = None
    mirror: str = ""
    paint: bool = False

    def distance(self, p: Axes) -> np.ndarray:
        """Signed distances [n]."""
        q = [np.abs(axis) if name in self.mirror else axis for name, axis in zip("xyz", p, strict=True)]
        q = [axis - np.float32(o) if o else axis for axis, o in zip(q, self.at, strict=True)]
        if self.turn is not None:
            m = np.array(self.turn, np.float32)  # p = m q, so q = mᵀ p
            q = [q[0] * m[0, k] + q[1] * m[1, k] + q[2] * m[2, k] for k in range(3)]
        return self.solid.distance((q[0], q[1], q[2]))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner of its box."""
        points, radius = self.solid.hull()
        if self.turn is not None:
            points = points @ np.array(self.turn).T
        points = points + np.array(self.at)
        low, high = points.min(0) - radius, points.max(0) + radius
        for axis, name in enumerate("xyz"):
            if name in self.mirror:
                low[axis] = -high[axis]
        return low, high


@dataclass(frozen=True)
class Shape:
    """A coloured solid that knows its name.

    Parameters
    ----------
    kind
        Class word.
    attributes
        What it is like, `fewstep.three_d.corpus.attributes`.
    parts
        Whose union it is.
    colours
        sRGB in [0, 1] by key.
    adjectives, clauses
        Words for the caption, before and after the class word.
    """

    kind: str
    attributes: Mapping[str, str]
    parts: tuple[Part, ...]
    colours: Mapping[str, Point]
    adjectives: tuple[str, ...] = ()
    clauses: tuple[Clause, ...] = ()
    scale: float = 1.0
    offset: Point = (0.0, 0.0, 0.0)

    def fitted(self) -> Shape:
        """The same with the longest side of its box `FIT` and the box's middle at the origin."""
        boxes = [part.bounds() for part in self.parts if not part.paint]
        low, high = np.min([b[0] for b in boxes], 0), np.max([b[1] for b in boxes], 0)
        scale = FIT / float((high - low).max())
        middle = (low + high) / 2 * scale
        return Shape(
            self.kind, self.attributes, self.parts, self.colours, self.adjectives, self.clauses,
            scale, (-float(middle[0]), -float(middle[1]), -float(middle[2])),
        )  # fmt: skip

    @property
    def thin(self) -> float:
        """Thickness of the thinnest part, in object units."""
        return self.scale * min(part.solid.thin for part in self.parts if not part.paint)

    def sdf(self, points: np.ndarray) -> np.ndarray:
        """Signed distances, negative inside, at most the true ones in magnitude.

        Parameters
        ----------
        points
            float32 [n, 3], object space.

        Returns
        -------
        numpy.ndarray
            float32 [n].
        """
        p = self._own(points)
        best = None
        for part in self.parts:
            if not part.paint:
                d = part.distance(p)
                best = d if best is None else np.minimum(best, d, out=best)
        return (np.asarray(best) * np.float32(self.scale)).astype(np.float32, copy=False)

    def colour(self, points: np.ndarray) -> np.ndarray:
        """sRGB in [0, 1] of the nearest part.

        Parameters
        ----------
        points
            float32 [n, 3], object space.

        Returns
        -------
        numpy.ndarray
            float32 [n, 3].
        """
        p = self._own(points)
        keys = list(self.colours)
        best, which = np.full(len(points), np.inf, np.float32), np.zeros(len(points), np.int64)
        for part in self.parts:
            d = part.distance(p)
            closer = d < (0 if part.paint else best)
            which[closer] = keys.index(part.colour)
            if not part.paint:
                best[closer] = d[closer]
        return np.array([self.colours[key] for key in keys], np.float32)[which]

    def caption(self, generator: np.random.Generator | None = None) -> str:
        """What it is, in words that `fewstep.three_d.text` knows.

        Parameters
        ----------
        generator
            Chooses some of what is true; None tells all.

        Returns
        -------
        str
            Such as "a tall red chair with four white legs".
        """
        return sentence(self.kind, self.adjectives, self.clauses, generator)

    def _own(self, points: np.ndarray) -> Axes:
        moved = (np.asarray(points, np.float32) - np.array(self.offset, np.float32)) / np.float32(self.scale)
        x, y, z = np.ascontiguousarray(moved.T)
        return x, y, z


def turned(axis: str, degrees: float) -> tuple[Point, Point, Point]:
    """The rotation about an axis, counter-clockwise seen from its positive end."""
    c, s = float(np.cos(np.deg2rad(degrees))), float(np.sin(np.deg2rad(degrees)))
    return {
        "x": ((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)),
        "y": ((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)),
        "z": ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)),
    }[axis]


def around(n: int, radius: float, first: float = 90.0) -> Sequence[tuple[float, float]]:
    """n places (x, z) on a circle, the first at `first` degrees from +x to +z."""
    angles = np.deg2rad(first + 360 / n * np.arange(n))
    return [(float(radius * np.cos(a)), float(radius * np.sin(a))) for a in angles]
