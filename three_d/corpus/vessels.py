"""Mugs, bottles and lamps."""

from __future__ import annotations

import numpy as np

from fewstep.three_d.corpus.draft import Draft
from fewstep.three_d.corpus.primitives import Ball, Box, Cylinder, Lathe, Outline, Primitive, Tube
from fewstep.three_d.corpus.shape import around, turned


def mug(d: Draft) -> None:
    """A hollow cup of three forms with one or two handles."""
    ratio, size = d.graded(0.72, 1.6, ("wide", "tall"))
    count, ear = d.pick(["one", "two"], [0.75, 0.25]), d.pick(["round", "square"])
    form = d.pick(["straight", "tapered", "round"])
    number = 1 if count == "one" else 2
    across = min(0.9 / ratio, 0.9 - 0.17 * number)
    height, radius, wall = ratio * across, across / 2, d.uniform(0.056, 0.07)
    levels = np.linspace(0, 1, 9)
    narrow = d.uniform(0.62, 0.75)
    outer = {
        "straight": np.full(9, 1.0),
        "tapered": narrow + (1 - narrow) * levels,
        "round": narrow + (1 - narrow) * np.sqrt(np.maximum(1 - (1.9 * levels - 1) ** 2, 0)),
    }[form] * radius
    up = [(float(r), float(y)) for r, y in zip(outer, levels * height, strict=True)]
    inner = [(r - wall, y) for r, y in up if y > wall * 1.2]
    floor = (float(np.interp(wall, levels * height, outer)) - wall, wall)
    outline = ((0.0, 0.0), *up, *reversed(inner), floor, (0.0, wall))
    d.add(Lathe(outline, thin=wall))
    half, thick = min(0.17, 0.36 * height), d.uniform(0.027, 0.034)
    middle, reach = height * 0.52, 0.15
    ends = [float(np.interp(middle + s * half, levels * height, outer)) - 0.024 for s in (-1, 1)]
    if ear == "round":
        angles = np.linspace(-np.pi / 2, np.pi / 2, 9)[1:-1]
        bow = [(radius + reach * float(np.cos(a)) - 0.03, middle + half * float(np.sin(a)), 0.0) for a in angles]
    else:
        bow = [(radius + reach - 0.03, middle - half, 0.0), (radius + reach - 0.03, middle + half, 0.0)]
    line = ((ends[0], middle - half, 0.0), *bow, (ends[1], middle + half, 0.0))
    d.add(Tube(line, thick), colour="second", mirror="x" if number == 2 else "")
    d.attributes |= {"handles": count, "handle": ear, "form": form}
    d.sized(size)
    d.forms.append(form)
    d.clause("handle" if number == 1 else "handles", "two" if number == 2 else "", ear, *d.told, telling=True)


def bottle(d: Draft) -> None:
    """A body of four forms, a neck, a cap, often a label."""
    radius, size = d.graded(0.12, 0.27, ("narrow", "wide"))
    length, grade = d.graded(0.12, 0.34, ("short", "long"))
    form, neck = d.pick(["straight", "round", "square", "tapered"]), d.uniform(0.048, 0.068)
    cap = d.uniform(0.07, 0.11)
    top = 0.9 - cap
    shoulder = top - length
    ease = d.uniform(0.08, 0.14)
    slope = [(neck + (radius - neck) * (0.5 + 0.5 * float(np.cos(np.pi * t))), t) for t in np.linspace(0, 1, 6)]
    rise: list[tuple[float, float]] = [(r, shoulder - ease * (1 - t)) for r, t in slope]
    outlines: dict[str, Outline] = {
        "straight": ((radius - 0.015, 0.0), (radius, 0.015), *rise),
        "tapered": ((radius - 0.015, 0.0), (radius, 0.015), (neck, shoulder)),
        "round": tuple(_bulb(radius, neck, shoulder)),
        "square": ((neck, shoulder - 0.2),),
    }
    if form == "square":
        side = radius * 0.9
        d.add(Box((side, (shoulder - 0.04) / 2, side), 0.035), (0, (shoulder - 0.04) / 2, 0))
        d.add(
            Lathe(
                ((0.0, shoulder - 0.1), (side * 0.9, shoulder - 0.1), (neck, shoulder + 0.02), (0.0, shoulder + 0.02))
            )
        )
    outline = ((0.0, outlines[form][0][1]), *outlines[form], (neck, top + 0.02), (0.0, top + 0.02))
    d.add(Lathe(outline, thin=2 * neck))
    part = d.pick(["cap", "label"])
    lid = "second" if part == "cap" else "body"
    d.add(Cylinder(neck + d.uniform(0.012, 0.03), cap / 2, rounding=0.008), (0, top + cap / 2, 0), colour=lid)
    if part == "label":
        band = shoulder - ease if form != "round" else min(shoulder, 2 * radius)
        d.paint(Cylinder(0.6, band * d.uniform(0.2, 0.28)), (0, band * 0.5, 0), colour="second")
    d.attributes["form"] = form
    d.sized(size)
    d.forms.append(form)
    if grade:
        d.attributes["neck"] = grade
        d.clause("neck", grade)
    if d.told:
        d.attributes["part"] = part
        d.clause(part, *d.told)


def _bulb(radius: float, neck: float, shoulder: float) -> list[tuple[float, float]]:
    """A ball, a little cut below, that runs into the neck."""
    middle = min(radius * 0.92, shoulder * 0.5)
    start, end = np.arcsin(-min(middle / radius, 1)), np.arccos(neck / radius)
    angles = np.linspace(start, end, 13)
    ball = [(float(radius * np.cos(a)), float(middle + radius * np.sin(a))) for a in angles]
    ball[0] = (max(ball[0][0], 0.03), 0.0)
    return [point for point in ball if point[1] < shoulder]


def lamp(d: Draft) -> None:
    """A floor lamp, a desk lamp, or a bent one, with a shade of four forms."""
    kind = d.pick(["floor", "desk", "bent"], [0.42, 0.33, 0.25])
    form = d.pick(["pointed", "straight", "dome", "round"])
    if kind == "floor":
        radius, grade = d.graded(0.15, 0.28, ("narrow", "wide"))
        tall, pole, foot = d.uniform(0.2, 0.3), d.uniform(0.027, 0.04), d.uniform(0.13, 0.22)
    elif kind == "desk":
        radius, grade = d.graded(0.26, 0.42, ("narrow", "wide"))
        tall, pole, foot = d.uniform(0.3, 0.4), d.uniform(0.035, 0.06), d.uniform(0.16, 0.26)
    else:
        form, grade = d.pick(["pointed", "dome"]), ""
        radius, tall, pole, foot = d.uniform(0.15, 0.21), d.uniform(0.2, 0.26), d.uniform(0.027, 0.036), 0.18
    shade, tall = _shade(form, radius, tall)
    if kind == "bent":
        knee, head = (
            (-d.uniform(0.12, 0.2), d.uniform(0.42, 0.5), 0.0),
            (d.uniform(0.12, 0.2), d.uniform(0.66, 0.76), 0.0),
        )
        d.add(Tube(((0.0, 0.03, 0.0), knee, head), pole))
        d.add(shade, (head[0] + 0.04, head[1] - tall * 0.75, 0), colour="second", turn=turned("z", d.uniform(15, 35)))
    else:
        d.add(shade, (0, 0.9 - tall, 0), colour="second")
        d.add(Cylinder(pole, (0.9 - tall * 0.5) / 2), (0, (0.9 - tall * 0.5) / 2, 0))
    base = d.pick(["disc", "legs"], [0.6, 0.4]) if kind == "floor" else d.pick(["disc", "block"])
    if kind == "desk" and d.chance(0.4):
        d.add(Ball(d.uniform(0.11, 0.16)), (0, 0.2, 0))
    if base == "legs":
        for x, z in around(3, foot):
            d.add(Tube(((0.0, 0.26, 0.0), (x, 0.03, z)), 0.028))
        d.attributes["legs"] = "three"
    elif base == "block":
        d.add(Box((foot * 0.8, 0.032, foot * 0.8), 0.01), (0, 0.032, 0))
    else:
        d.add(Cylinder(foot, 0.03, rounding=0.012), (0, 0.03, 0))
    d.attributes |= {"style": kind, "shade": form}
    if grade:
        d.attributes["width"] = grade
    d.sorts.append(kind)
    d.clause("shade", grade, form, *d.told)
    if base == "legs":
        d.clause("legs", "three")


def _shade(form: str, radius: float, tall: float) -> tuple[Primitive, float]:
    """A shade that stands on its origin, and its height."""
    if form == "round":
        radius = min(radius, 0.3)
        angles = np.linspace(-np.pi / 2, np.pi / 2, 15)
        ball = tuple((max(float(radius * np.cos(a)), 0.0), float(radius + radius * np.sin(a))) for a in angles)
        return Lathe(ball), 2 * radius
    if form == "dome":
        angles = np.linspace(0, np.pi / 2, 9)
        dome = tuple((max(float(radius * np.cos(a)), 0.0), float(tall * 0.85 * np.sin(a))) for a in angles)
        return Lathe(((0.0, 0.0), *dome)), tall * 0.85
    top = radius * (0.32 if form == "pointed" else 1.0)
    return Lathe(((0.0, 0.0), (radius, 0.0), (top, tall), (0.0, tall))), tall
