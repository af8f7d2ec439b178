"""Houses, the door towards +z."""

from __future__ import annotations

import numpy as np

from fewstep.three_d.corpus.draft import Draft
from fewstep.three_d.corpus.primitives import Box, Convex, Extrusion, Point


def house(d: Draft) -> None:
    """Walls with a door and windows in colour, a roof of three forms, a chimney."""
    ratio, size = d.graded(0.4, 1.05, ("wide", "tall"))
    form, lip = d.pick(["gable", "hip", "flat"], [0.4, 0.35, 0.25]), d.uniform(0.03, 0.055)
    pitch = 0.09 if form == "flat" else d.uniform(0.3, 0.5)
    width = min(0.9 - 2 * lip, 0.9 / (ratio + pitch))
    wall, rise, depth = ratio * width, max(pitch * width, 0.06), width * d.uniform(0.65, 0.95)
    d.add(Box((width / 2, wall / 2, depth / 2)), (0, wall / 2, 0))
    w, z = width / 2 + lip, depth / 2 + lip
    if form == "gable":
        if d.chance(0.5):
            d.add(Extrusion(((-w, wall - 0.02), (w, wall - 0.02), (0.0, wall + rise)), z), colour="second")
        else:
            slope = ((wall - 0.02, -z), (wall - 0.02, z), (wall + rise, 0.0))
            d.add(Extrusion(slope, w, axis="x"), colour="second")
    elif form == "hip":
        d.add(_hip(w, z, wall - 0.02, wall + rise), colour="second")
    else:
        d.add(Box((w, rise / 2, z)), (0, wall + rise / 2 - 0.01, 0), colour="second")
    if d.chance(0.5):
        top = wall + rise + d.uniform(0.03, 0.07)
        thick, x = d.uniform(0.04, 0.055), d.pick([-1, 1]) * width * d.uniform(0.2, 0.28)
        d.add(Box((thick, (top - wall) / 2 + 0.02, thick)), (x, (top + wall) / 2, -depth * 0.12))
        d.attributes["chimney"] = "chimney"
        d.clause("chimney", telling=True)
    _front(d, width, wall, depth, storeys=2 if ratio > 0.75 else 1)
    d.attributes["roof"] = form
    d.sized(size)
    d.clause("roof", form, *d.told)


def _front(d: Draft, width: float, wall: float, depth: float, *, storeys: int) -> None:
    step = wall / storeys
    door = min(0.62 * step, 0.3)
    d.paint(Box((0.085 * width + 0.01, door / 2, 0.1)), (0, door / 2, depth / 2), colour="wood")
    half, tall = 0.1 * width, min(0.2 * step + 0.01, 0.085)
    for floor in range(storeys):
        y = step * (floor + 0.58)
        d.paint(Box((half, tall, 0.05)), (0.29 * width, y, depth / 2), colour="glass", mirror="x")
        d.paint(Box((half, tall, 0.05)), (0.25 * width, y, -depth / 2), colour="glass", mirror="x")
        d.paint(Box((0.05, tall, 0.12 * depth)), (width / 2, y, 0), colour="glass", mirror="x")
    if storeys == 2:
        d.paint(Box((half, tall, 0.05)), (0, step * 1.58, depth / 2), colour="glass")


def _hip(w: float, z: float, low: float, high: float) -> Convex:
    """Four slopes that meet in a ridge along the longer side."""
    rise, run = high - low, min(w, z)
    n = np.hypot(rise, run)
    a, b = rise / n, run / n
    planes = [(0.0, -1.0, 0.0, -low)]
    for s in (-1.0, 1.0):
        planes += [(s * a, b, 0.0, a * w + b * low), (0.0, b, s * a, a * z + b * low)]
    points: list[Point] = [(x * w, low, y * z) for x in (-1, 1) for y in (-1, 1)]
    points += [(s * (w - run), high, s * (z - run)) for s in (-1, 1)]
    return Convex(tuple((float(p[0]), float(p[1]), float(p[2]), float(p[3])) for p in planes), tuple(points))
