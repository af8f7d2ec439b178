"""Solids with signed distances, negative inside: boxes, cylinders, tubes, polygons turned or drawn out, convex bodies.

All are exact but `Convex` and `Cut`, which may say less than the true distance. Formulae after
J. C. Hart, Sphere tracing, The Visual Computer 12 (1996), and the usual clamp of a point to a segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
Point = tuple[float, float, float]
Outline = tuple[tuple[float, float], ...]

_ORDER = {"x": (1, 2, 0), "y": (0, 2, 1), "z": (0, 1, 2)}  # the two axes across, and the one along


class Primitive(Protocol):
    """A solid around its own origin."""

    def distance(self, p: Axes) -> np.ndarray:
        """Signed distances [n] of the points with coordinates x, y, z, each float32 [n]."""

    def hull(self) -> tuple[np.ndarray, float]:
        """Points [k, 3] and a radius: the solid lies within the balls' convex hull and touches its box's six sides."""

    @property
    def thin(self) -> float:
        """The thickness of its thinnest place."""


@dataclass(frozen=True)
class Box:
    """A box of half sides `half`, edges rounded by `radius` (which the half sides include)."""

    half: Point
    radius: float = 0.0

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        q = [np.abs(axis) - np.float32(half - self.radius) for axis, half in zip(p, self.half, strict=True)]
        inner = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
        for axis in q:
            np.maximum(axis, 0, out=axis)
        return np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) + inner - np.float32(self.radius)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        return _corners(self.half), 0.0

    @property
    def thin(self) -> float:
        """See `Primitive`."""
        return 2 * min(self.half)


@dataclass(frozen=True)
class Cylinder:
    """A cylinder along an axis, edges rounded by `rounding` (included)."""

    radius: float
    half: float
    axis: str = "y"
    rounding: float = 0.0

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        a, b, c = (p[i] for i in _ORDER[self.axis])
        across = np.hypot(a, b) - np.float32(self.radius - self.rounding)
        along = np.abs(c) - np.float32(self.half - self.rounding)
        return _together(across, along) - np.float32(self.rounding)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        return _ring_corners(self.radius, self.half, self.axis), 0.0

    @property
    def thin(self) -> float:
        """See `Primitive`."""
        return 2 * min(self.radius, self.half)


@dataclass(frozen=True)
class Ball:
    """A ball."""

    radius: float

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        x, y, z = p
        return np.sqrt(x * x + y * y + z * z) - np.float32(self.radius)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        return np.zeros((1, 3)), self.radius

    @property
    def thin(self) -> float:
        """See `Primitive`."""
        return 2 * self.radius


@dataclass(frozen=True)
class Torus:
    """A ring around an axis."""

    major: float
    minor: float
    axis: str = "y"

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        a, b, c = (p[i] for i in _ORDER[self.axis])
        return np.hypot(np.hypot(a, b) - np.float32(self.major), c) - np.float32(self.minor)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        return _ring_corners(self.major, 0.0, self.axis), self.minor

    @property
    def thin(self) -> float:
        """See `Primitive`."""
        return 2 * self.minor


@dataclass(frozen=True)
class Tube:
    """A round bar along a line of points; one segment of it is a capsule."""

    points: tuple[Point, ...]
    radius: float

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        best = None
        for first, last in zip(self.points[:-1], self.points[1:], strict=True):
            v = np.subtract(last, first).astype(np.float32)
            w = [axis - np.float32(start) for axis, start in zip(p, first, strict=True)]
            h = np.clip((w[0] * v[0] + w[1] * v[1] + w[2] * v[2]) / max(float(v @ v), 1e-12), 0, 1)
            for axis, step in zip(w, v, strict=True):
                axis -= h * step
            square = w[0] * w[0] + w[1] * w[1] + w[2] * w[2]
            best = square if best is None else np.minimum(best, square)
        return np.sqrt(np.asarray(best)) - np.float32(self.radius)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        return np.array(self.points), self.radius

    @property
    def thin(self) -> float:
        """See `Primitive`."""
        return 2 * self.radius


@dataclass(frozen=True)
class Lathe:
    """An outline of (distance from the axis, height) turned around the y axis; `thin` is what its maker says."""

    outline: Outline
    thin: float = 1.0
    rounding: float = 0.0

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        a = np.array(self.outline, np.float32)
        b = np.roll(a, -1, 0)
        return a, b

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        a, b = self._edges
        real = (a[:, 0] > 1e-9) | (b[:, 0] > 1e-9)  # the axis itself is no surface
        return _polygon(np.hypot(p[0], p[2]), p[1], a, b, real) - np.float32(self.rounding)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        rings = [_ring_corners(r, 0.0, "y")[:64] + np.array([0, y, 0]) for r, y in self.outline]
        return np.concatenate(rings), self.rounding


@dataclass(frozen=True)
class Extrusion:
    """An outline in the two axes across, drawn out by `half` both ways along an axis; edges grow by `rounding`.

    Across x the outline is (y, z), across y (x, z), across z (x, y).
    """

    outline: Outline
    half: float
    axis: str = "z"
    thin: float = 1.0
    rounding: float = 0.0

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        i, j, k = _ORDER[self.axis]
        a = np.array(self.outline, np.float32)
        across = _polygon(p[i], p[j], a, np.roll(a, -1, 0), np.ones(len(a), bool))
        return _together(across, np.abs(p[k]) - np.float32(self.half)) - np.float32(self.rounding)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        points = np.zeros((2, len(self.outline), 3))
        i, j, k = _ORDER[self.axis]
        points[:, :, [i, j]] = self.outline
        points[0, :, k], points[1, :, k] = -self.half, self.half
        return points.reshape(-1, 3), self.rounding


@dataclass(frozen=True)
class Convex:
    """What lies on the inner side of all planes n · p = c (unit n); `points` are its corners."""

    planes: tuple[tuple[float, float, float, float], ...]
    points: tuple[Point, ...]
    thin: float = 1.0

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        best = None
        for plane in np.array(self.planes, np.float32):
            d = p[0] * plane[0] + p[1] * plane[1] + p[2] * plane[2] - plane[3]
            best = d if best is None else np.maximum(best, d, out=best)
        return np.asarray(best)

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        return np.array(self.points), 0.0


@dataclass(frozen=True)
class Cut:
    """A solid without another, the other moved by `offset`."""

    solid: Primitive
    other: Primitive
    offset: Point = (0.0, 0.0, 0.0)
    thin: float = 1.0

    def distance(self, p: Axes) -> np.ndarray:
        """See `Primitive`."""
        moved = tuple(axis - np.float32(o) for axis, o in zip(p, self.offset, strict=True))
        return np.maximum(self.solid.distance(p), -self.other.distance(moved))  # type: ignore[arg-type]

    def hull(self) -> tuple[np.ndarray, float]:
        """See `Primitive`."""
        return self.solid.hull()


def _together(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Distance to a body drawn out, from those across and along."""
    inner = np.minimum(np.maximum(across, along), 0)
    return np.hypot(np.maximum(across, 0), np.maximum(along, 0)) + inner


def _polygon(u: np.ndarray, v: np.ndarray, a: np.ndarray, b: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Signed distance to a polygon of edges a -> b [k, 2]; those not `real` count for the side only."""
    best = np.full(u.shape, np.inf, np.float32)
    inside = np.zeros(u.shape, bool)
    for start, end, counts in zip(a, b, real, strict=True):
        e = end - start
        wu, wv = u - start[0], v - start[1]
        if counts:
            h = np.clip((wu * e[0] + wv * e[1]) / max(float(e @ e), 1e-12), 0, 1)
            du, dv = wu - h * e[0], wv - h * e[1]
            np.minimum(best, du * du + dv * dv, out=best)
        if e[1] != 0:
            crosses = (v >= start[1]) != (v >= end[1])
            left = (wu * e[1] < wv * e[0]) if e[1] > 0 else (wu * e[1] > wv * e[0])
            inside ^= crosses & left
    found = np.sqrt(best)
    return np.where(inside, -found, found)


def _corners(half: Point) -> np.ndarray:
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    return signs * np.array(half)


def _ring_corners(radius: float, half: float, axis: str, n: int = 64) -> np.ndarray:
    i, j, k = _ORDER[axis]
    angles = np.arange(n) * 2 * np.pi / n
    points = np.zeros((2, n, 3))
    points[:, :, i], points[:, :, j] = radius * np.cos(angles), radius * np.sin(angles)
    points[0, :, k], points[1, :, k] = -half, half
    return points.reshape(-1, 3)
