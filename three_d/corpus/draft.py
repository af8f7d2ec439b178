"""A shape in the making: draws of sizes and forms, each with the word that is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from fewstep.three_d.corpus.primitives import Box, Cylinder, Point, Primitive, Tube
from fewstep.three_d.corpus.shape import Part, Shape, around
from fewstep.three_d.corpus.words import Clause

COLOURS: dict[str, Point] = {
    "red": (0.84, 0.14, 0.14),
    "orange": (0.95, 0.53, 0.12),
    "yellow": (0.95, 0.84, 0.20),
    "green": (0.18, 0.58, 0.25),
    "blue": (0.14, 0.34, 0.82),
    "purple": (0.50, 0.22, 0.66),
    "pink": (0.95, 0.60, 0.75),
    "brown": (0.44, 0.27, 0.14),
    "white": (0.94, 0.94, 0.93),
    "grey": (0.55, 0.55, 0.56),
    "black": (0.11, 0.11, 0.12),
}
GLASS, WOOD = (0.55, 0.75, 0.88), (0.35, 0.22, 0.13)

T = TypeVar("T")


@dataclass
class Draft:
    """What a class's builder fills.

    Parameters
    ----------
    generator
        Of all draws.
    kind
        Class word.
    """

    generator: np.random.Generator
    kind: str
    parts: list[Part] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    sizes: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    sorts: list[str] = field(default_factory=list)
    clauses: list[Clause] = field(default_factory=list)
    told: tuple[str, ...] = ()
    two: float = 0.8

    def __post_init__(self) -> None:
        self.body = self.pick(list(COLOURS))
        others = [name for name in COLOURS if name != self.body]
        self.second = self.pick(others) if self.chance(self.two) else self.body
        self.attributes |= {"colour": self.body, "second": self.second}
        self.told = (self.second,) if self.second != self.body else ()

    def uniform(self, low: float, high: float) -> float:
        """A number between two."""
        return float(self.generator.uniform(low, high))

    def chance(self, share: float) -> bool:
        """Yes, in that share of draws."""
        return bool(self.generator.random() < share)

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of several."""
        return options[int(self.generator.choice(len(options), p=weights))]

    def graded(self, low: float, high: float, words: tuple[str, str], *, share: float = 0.3) -> tuple[float, str]:
        """A number, and the word for the lowest or highest `share` of its range, or ""."""
        u = float(self.generator.random())
        return low + u * (high - low), words[0] if u < share else words[1] if u > 1 - share else ""

    def sized(self, word: str) -> None:
        """Say the size."""
        if word:
            self.attributes["size"] = word
            self.sizes.append(word)

    def formed(self, name: str, word: str) -> None:
        """Say a form."""
        if word:
            self.attributes[name] = word
            self.forms.append(word)

    def add(self, solid: Primitive, at: Point = (0.0, 0.0, 0.0), *, colour: str = "body", **more: Any) -> None:
        """Put a primitive in its place."""
        self.parts.append(Part(solid, colour, at, **more))

    def paint(self, solid: Primitive, at: Point, *, colour: str, **more: Any) -> None:
        """Colour what lies within a primitive."""
        self.parts.append(Part(solid, colour, at, paint=True, **more))

    def clause(self, noun: str, *words: str, telling: bool = False) -> None:
        """Say something of a part."""
        if words or telling:
            self.clauses.append(Clause(noun, tuple(word for word in words if word), telling))

    def rgb(self, name: str) -> Point:
        """A named colour, a little off."""
        r, g, b = np.clip(np.array(COLOURS[name]) + self.generator.uniform(-0.035, 0.035, 3), 0, 1)
        return float(r), float(g), float(b)

    def shape(self) -> Shape:
        """What was made."""
        body = self.rgb(self.body)
        colours = {"body": body, "second": self.rgb(self.second) if self.second != self.body else body}
        colours |= {"glass": GLASS, "wood": WOOD}
        adjectives = (*self.sizes, *self.forms, self.body, *self.sorts)
        parts, clauses = tuple(self.parts), tuple(self.clauses)
        return Shape(self.kind, dict(self.attributes), parts, colours, adjectives, clauses).fitted()


def legs(
    d: Draft, count: str, form: str, *, width: float, depth: float, height: float, thick: float, colour: str = "second"
) -> None:
    """Legs from the floor up to the underside, `height`, of a top of width × depth.

    Parameters
    ----------
    d
        Gets the parts.
    count, form
        ``"one" | "three" | "four"``; ``"square" | "round" | "splayed"``.
    width, depth, height, thick
        In object units.
    colour
        Key.
    """
    if count == "one":
        foot = min(width, depth) * 0.36
        d.add(Cylinder(thick * 0.65, height / 2 + 0.01), (0, height / 2 + 0.01, 0), colour=colour)
        d.add(Cylinder(foot, 0.03, rounding=0.01), (0, 0.03, 0), colour=colour)
    elif count == "three":
        out = thick * 0.5 if form == "splayed" else -thick * 0.2
        for x, z in around(3, min(width, depth) / 2 - thick * 0.6):
            r = float(np.hypot(x, z))
            low = ((x / r) * (r + out), thick / 2, (z / r) * (r + out))
            d.add(Tube(((x * 0.85, height, z * 0.85), low), thick / 2), colour=colour)
    else:
        x, z = width / 2 - thick / 2, depth / 2 - thick / 2
        if form == "splayed":
            slant = min(0.14 * x, 0.22 * height)
            line = ((x - slant, height, z - min(slant, 0.14 * z)), (x + thick * 0.3, thick / 2, z + thick * 0.3))
            d.add(Tube(line, thick / 2), colour=colour, mirror="xz")
        elif form == "round":
            d.add(Cylinder(thick / 2, height / 2 + 0.01), (x, height / 2 + 0.01, z), colour=colour, mirror="xz")
        else:
            d.add(Box((thick / 2, height / 2 + 0.01, thick / 2)), (x, height / 2 + 0.01, z), colour=colour, mirror="xz")
