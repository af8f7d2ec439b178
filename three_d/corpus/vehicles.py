"""Planes and cars, nose towards +z."""

from __future__ import annotations

from fewstep.three_d.corpus.draft import Draft
from fewstep.three_d.corpus.primitives import Box, Cut, Cylinder, Extrusion, Lathe, Outline, Primitive
from fewstep.three_d.corpus.shape import turned


def plane(d: Draft) -> None:
    """A fuselage, wings of three forms, a tail, engines or a propeller."""
    ratio, size = d.graded(0.68, 1.3, ("long", "wide"))
    length = min(0.9, 0.9 / ratio)
    half, radius = ratio * length / 2, d.uniform(0.058, 0.09)
    nose = d.uniform(0.3, 0.55) * radius
    outline = (
        (0.0, -0.5 * length), (0.032, -0.5 * length), (0.9 * radius, -0.12 * length), (radius, 0.15 * length),
        (0.95 * radius, 0.32 * length), (0.72 * radius, 0.43 * length), (nose, 0.485 * length), (0.0, 0.5 * length),
    )  # fmt: skip
    d.add(Lathe(outline, thin=0.064), turn=turned("x", 90))
    form = d.pick(["straight", "swept", "delta"])
    root, tip, sweep, front = {
        "straight": (d.uniform(0.17, 0.23), 0.13, 0.0, 0.17),
        "swept": (d.uniform(0.2, 0.26), 0.09, d.uniform(0.2, 0.28), 0.2),
        "delta": (0.55 * length, 0.07, 0.45 * length, 0.16),
    }[form]
    lead, level = front * length, d.pick([-0.4, 0.0, 0.45]) * radius
    right = ((0.0, lead), (half, lead - sweep), (half, lead - sweep - tip), (0.0, lead - root))
    left = tuple((-x, z) for x, z in reversed(right[1:3]))
    d.add(Extrusion((*right, *left), 0.026, axis="y", thin=0.052), (0, level, 0), colour="second")
    end, span = -0.5 * length, 0.36 * half + 0.05
    tail = ((0.0, end + 0.17), (span, end + 0.08), (span, end), (-span, end), (-span, end + 0.08))
    if form != "delta":
        d.add(Extrusion(tail, 0.026, axis="y", thin=0.052), (0, 0.012, 0), colour="second")
    fin = ((0.0, end + 0.2), (0.2, end + 0.07), (0.2, end), (0.0, end))
    d.add(Extrusion(fin, 0.027, axis="x", thin=0.054), (0, 0.0, 0), colour="second")
    _engines(d, d.pick(["two", "four", "propeller", ""], [0.3, 0.2, 0.25, 0.25]), half, lead, sweep, level, length)
    pane = (
        (0.3 * radius, 0.36 * length),
        (0.3 * radius, 0.5 * length),
        (radius, 0.5 * length),
        (radius, 0.33 * length),
    )
    d.paint(Extrusion(pane, 1.0, axis="x"), (0, 0, 0), colour="glass")
    d.attributes["wings"] = form
    d.sized(size)
    d.clause("wings", form, *d.told)


def _engines(d: Draft, which: str, half: float, lead: float, sweep: float, level: float, length: float) -> None:
    if which == "propeller":
        d.add(
            Box((0.16, 0.027, 0.024)), (0, 0, length / 2 - 0.02), colour="second", turn=turned("z", d.uniform(10, 80))
        )
        d.add(Cylinder(0.035, 0.045, axis="z"), (0, 0, length / 2 - 0.01), colour="second")
        d.clause("propeller", telling=True)
    elif which:
        for share in (0.42, 0.74) if which == "four" else (0.5,):
            at = (share * half, level - 0.05, lead - share * sweep - 0.02)
            d.add(Cylinder(0.042, 0.075, axis="z", rounding=0.01), at, mirror="x")
        d.clause("engines", which)
    if which:
        d.attributes["engines"] = which


def car(d: Draft) -> None:
    """A sedan, a van or a pickup."""
    if not d.told:
        d.second = d.pick([name for name in ("black", "grey", "white", "red", "yellow", "blue") if name != d.body])
        d.attributes["second"], d.told = d.second, (d.second,)
    kind = d.pick(["sedan", "van", "pickup"])
    stretch, size = d.graded(0.85, 1.3, ("low", "tall"))
    width, wheel = d.uniform(0.36, 0.44), d.uniform(0.075, 0.1)
    low, belt = 0.06, 0.2 * stretch
    roof = {"sedan": 0.34, "van": 0.4, "pickup": 0.37}[kind] * stretch
    # (height, along), from the lower rear corner up and forward
    rear = {"sedan": ((belt, -0.45), (belt + 0.02, -0.35), (roof, -0.24)), "van": ((roof - 0.03, -0.45), (roof, -0.42)),
            "pickup": ((belt, -0.45), (belt, -0.05), (roof, -0.03))}[kind]  # fmt: skip
    front = {"sedan": (0.04, 0.19), "van": (0.18, 0.33), "pickup": (0.12, 0.24)}[kind]
    bonnet = 0.18 * stretch
    outline: Outline = (
        (low, -0.45), *rear, (roof, front[0]), (belt + 0.01, front[1]), (bonnet, 0.43), (low + 0.02, 0.45), (low, 0.44)
    )  # fmt: skip
    body: Primitive = Extrusion(outline, width / 2 - 0.012, axis="x", rounding=0.012)
    if kind == "pickup":
        body = Cut(body, Box((width / 2 - 0.055, 0.2, 0.165)), (0, low + 0.065 + 0.2, -0.245), thin=0.05)
    d.add(body)
    at = (width / 2 - 0.035, wheel, 0.27)
    d.add(Cylinder(wheel, 0.045, axis="x", rounding=0.008), at, colour="second", mirror="xz")
    back = {"sedan": -0.22, "van": -0.4, "pickup": -0.02}[kind]
    sill, head = belt + 0.025, roof - 0.035
    lean = (front[1] - front[0]) * (head - sill) / max(roof - belt, 0.05)
    side = (
        (sill, back),
        (head, back + (0.02 if kind == "sedan" else 0)),
        (head, front[0] - 0.01),
        (sill, front[0] + lean - 0.02),
    )
    d.paint(Extrusion(side, 1.0, axis="x"), (0, 0, 0), colour="glass")
    wind = ((sill, front[0] - 0.05), (head, front[0] - 0.05), (head, 0.5), (sill, 0.5))
    d.paint(Extrusion(wind, width / 2 - 0.06, axis="x"), (0, 0, 0), colour="glass")
    d.attributes["style"] = kind
    d.sized(size)
    d.sorts.append(kind)
    d.clause("wheels", *d.told)
