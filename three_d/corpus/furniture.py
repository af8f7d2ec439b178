"""Chairs, tables, benches and shelves."""

from __future__ import annotations

import numpy as np

from fewstep.three_d.corpus.draft import Draft, legs
from fewstep.three_d.corpus.primitives import Box, Cylinder

TALL = 0.9


def chair(d: Draft) -> None:
    """Seat, back of four forms, one, three or four legs, arms."""
    width, size = d.graded(0.34, 0.62, ("tall", "wide"))
    rise, grade = d.graded(0.3, 0.56, ("low", "high"))
    depth = d.uniform(max(0.34, 0.8 * width), 0.5)
    seat, count = d.pick(["square", "round"], [0.7, 0.3]), d.pick(["four", "three", "one"], [0.6, 0.2, 0.2])
    board, thick, level = d.uniform(0.055, 0.08), d.uniform(0.056, 0.08), TALL - rise
    if seat == "round":
        depth = width
        d.add(Cylinder(width / 2, board / 2, rounding=0.015), (0, level - board / 2, 0))
    else:
        d.add(Box((width / 2, board / 2, depth / 2), 0.012), (0, level - board / 2, 0))
    spread = 0.8 if seat == "round" else 1.0
    form = d.pick(["square", "round", "splayed"])
    legs(d, count, form, width=width * spread, depth=depth * spread, height=level - board, thick=thick)
    across = width * (0.72 if seat == "round" else 1.0)
    behind = -depth / 2 * (0.86 if seat == "round" else 1.0) + thick / 2
    back = _back(d, across, rise, level - board / 2, behind, thick)
    arms = seat == "square" and width > 0.4 and rise > 0.34 and d.chance(0.45)
    if arms:
        _arms(d, width, depth, level - board / 2, d.uniform(0.15, 0.2) + board / 2, thick)
        d.attributes["arms"] = "arms"
    d.attributes |= {"seat": seat, "legs": count, "back": back}
    if grade:
        d.attributes["height"] = grade
    d.sized(size)
    d.clause("leg" if count == "one" else "legs", count, *d.told)
    d.clause("back", grade, back)
    if arms:
        d.clause("arms", telling=True)
    if seat == "round":
        d.clause("seat", seat)


def _back(d: Draft, width: float, rise: float, low: float, z: float, thick: float) -> str:
    """A back from `low` up to TALL; its form."""
    form = d.pick(["solid", "slatted", "ladder", "round"], [0.3, 0.3, 0.25, 0.15])
    if form == "round" and rise > 1.25 * width:
        form = "solid"
    middle, half, x = (low + TALL) / 2, (TALL - low) / 2, width / 2 - thick / 2
    if form == "solid":
        d.add(Box((width / 2, half, thick / 2), 0.02), (0, middle, z))
    elif form == "round":
        d.add(Cylinder(half, thick / 2, axis="z", rounding=0.01), (0, middle, z))
    else:
        d.add(Box((thick / 2, half, thick / 2)), (x, middle, z), mirror="x")
        rail = 0.035
        d.add(Box((width / 2, rail, thick / 2)), (0, TALL - rail, z))
        bar = 0.027
        if form == "slatted":
            inner = width - 2 * thick
            n = max(1, int((inner - 0.055) / (2 * bar + 0.055)))
            for place in np.linspace(-inner / 2, inner / 2, n + 2)[1:-1]:
                d.add(Box((bar, half, thick / 2)), (float(place), middle, z))
        else:
            n = max(1, int((rise - 2 * rail - 0.06) / (2 * bar + 0.075)))
            for place in np.linspace(TALL - rise, TALL - 2 * rail, n + 2)[1:-1]:
                d.add(Box((width / 2, bar, thick / 2)), (0, float(place), z))
    return form


def _arms(d: Draft, width: float, depth: float, low: float, rise: float, thick: float) -> None:
    x = width / 2 - thick / 2
    d.add(Box((thick / 2, thick / 2, depth / 2), 0.01), (x, low + rise, 0), mirror="x")
    d.add(Box((thick / 2, rise / 2, thick / 2)), (x, low + rise / 2, depth / 2 - thick / 2), mirror="x")


def table(d: Draft) -> None:
    """A round, square or long top, one, three or four legs, a shelf below."""
    ratio, size = d.graded(0.38, 1.15, ("low", "tall"))
    top = d.pick(["round", "square", "long"], [0.35, 0.3, 0.35])
    long = min(TALL, TALL / ratio)
    height, width = ratio * long, long
    depth = long * d.uniform(0.45, 0.58) if top == "long" else long
    choices = {"round": ["four", "three", "one"], "square": ["four", "four", "one"], "long": ["four"]}
    count = d.pick(choices[top])
    board, thick = d.uniform(0.055, 0.085), d.uniform(0.058, 0.095)
    if top == "round":
        d.add(Cylinder(width / 2, board / 2, rounding=0.012), (0, height - board / 2, 0))
    else:
        d.add(Box((width / 2, board / 2, depth / 2), 0.01), (0, height - board / 2, 0))
    spread = 0.74 if top == "round" and count == "four" else 0.95
    form = d.pick(["square", "round", "splayed"])
    legs(d, count, form, width=width * spread, depth=depth * spread, height=height - board, thick=thick)
    if count == "four" and height > 0.36 and d.chance(0.4):
        level = height * d.uniform(0.25, 0.4)
        d.add(Box((width * spread / 2 - 0.02, 0.028, depth * spread / 2 - 0.02)), (0, level, 0))
        d.attributes["shelf"] = "shelf"
    d.attributes["legs"] = count
    d.sized(size)
    d.formed("top", top)
    d.clause("leg" if count == "one" else "legs", count, *d.told)
    if "shelf" in d.attributes:
        d.clause("board", telling=True)


def bench(d: Draft) -> None:
    """A long seat on two or four legs, with or without a back."""
    level, size = d.graded(0.22, 0.42, ("low", "tall"))
    depth, board, thick = d.uniform(0.28, 0.4), d.uniform(0.058, 0.085), d.uniform(0.06, 0.09)
    width = 0.9
    d.add(Box((width / 2, board / 2, depth / 2), 0.01), (0, level - board / 2, 0))
    count = d.pick(["two", "four"])
    low = level - board / 2
    if count == "two":
        x = width / 2 - thick * d.uniform(0.6, 1.8)
        d.add(Box((thick / 2, low / 2, depth / 2 - 0.015)), (x, low / 2, 0), colour="second", mirror="x")
    else:
        form = d.pick(["square", "round", "splayed"])
        legs(d, "four", form, width=width * 0.94, depth=depth * 0.96, height=level - board, thick=thick)
    back = d.pick(["backless", "solid", "slatted"], [0.3, 0.3, 0.4])
    if back != "backless":
        _bench_back(d, back, width, low, d.uniform(0.28, 0.42), -depth / 2 + 0.03)
        if d.chance(0.5):
            _arms(d, width, depth, low, d.uniform(0.13, 0.17) + board / 2, 0.06)
            d.attributes["arms"] = "arms"
    d.attributes |= {"legs": count, "back": back}
    d.sized(size)
    if back == "backless":
        d.forms.append("backless")
    else:
        d.clause("back", back)
    d.clause("legs", count, *d.told)
    if "arms" in d.attributes:
        d.clause("arms", telling=True)


def _bench_back(d: Draft, form: str, width: float, low: float, rise: float, z: float) -> None:
    if form == "solid":
        d.add(Box((width / 2, rise / 2, 0.03), 0.015), (0, low + rise / 2, z))
        return
    d.add(Box((0.03, rise / 2, 0.03)), (width / 2 - 0.03, low + rise / 2, z), mirror="x")
    d.add(Box((width / 2, 0.033, 0.03)), (0, low + rise - 0.033, z))
    for place in np.linspace(-width / 2 + 0.03, width / 2 - 0.03, d.pick([7, 8, 9]))[1:-1]:
        d.add(Box((0.027, rise / 2, 0.027)), (float(place), low + rise / 2, z))


def shelf(d: Draft) -> None:
    """Three to six boards between two sides, open or closed behind."""
    ratio, size = d.graded(0.42, 1.3, ("tall", "wide"))
    height = min(TALL, TALL / ratio)
    width, depth, thick = ratio * height, d.uniform(0.22, 0.34), d.uniform(0.055, 0.07)
    most = int((height - thick) / 0.145) + 1
    number = d.pick([n for n in (3, 4, 5, 6) if n <= most])
    count = {3: "three", 4: "four", 5: "five", 6: "six"}[number]
    behind = d.pick(["open", "closed"])
    if d.chance(0.35):
        post = Box((thick / 2, height / 2, thick / 2))
        d.add(post, (width / 2 - thick / 2, height / 2, depth / 2 - thick / 2), mirror="xz")
    else:
        d.add(Box((thick / 2, height / 2, depth / 2)), (width / 2 - thick / 2, height / 2, 0), mirror="x")
    first = d.pick([thick / 2, min(0.12, height / number / 2)])
    for level in np.linspace(first, height - thick / 2, number):
        d.add(Box((width / 2 - 0.01, 0.0275, depth / 2 - 0.006)), (0, float(level), 0), colour="second")
    if behind == "closed":
        d.add(Box((width / 2, (height - first) / 2, 0.026)), (0, (height + first) / 2, -depth / 2 + 0.026))
    if width > 0.55 and d.chance(0.35):
        d.add(Box((0.028, (height - first) / 2 - 0.01, depth / 2 - 0.02)), (0, (height + first) / 2, 0))
        d.attributes["divided"] = "divided"
    d.attributes |= {"boards": count, "behind": behind}
    d.sized(size)
    d.forms.append(behind)
    if "divided" in d.attributes:
        d.forms.append("divided")
    d.clause("boards", count, *d.told)
