"""What holds of every procedural shape: one solid piece, thick enough, true to its words."""

import numpy as np
import pytest
from scipy import ndimage

from fewstep.core.errors import UsageError
from fewstep.three_d import text
from fewstep.three_d.corpus import CLASSES, make
from fewstep.three_d.corpus.attributes import ATTRIBUTES, NONE, answers, complete, said
from fewstep.three_d.corpus.draft import COLOURS
from fewstep.three_d.corpus.primitives import Ball, Box, Convex, Cut, Cylinder, Extrusion, Lathe, Torus, Tube
from fewstep.three_d.corpus.shape import Part, Shape, turned

R = 64


def grid(n=R):
    axis = ((np.arange(n) + 0.5) / n - 0.5).astype(np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


SQUARE = ((-0.2, -0.1), (0.2, -0.1), (0.2, 0.1), (-0.2, 0.1))
PRIMITIVES = {
    "box": Box((0.2, 0.1, 0.15), 0.03),
    "cylinder": Cylinder(0.2, 0.1, axis="z", rounding=0.02),
    "ball": Ball(0.3),
    "torus": Torus(0.25, 0.05, axis="x"),
    "tube": Tube(((-0.2, 0, 0), (0.1, 0.2, 0), (0.2, 0, 0.2)), 0.04),
    "lathe": Lathe(((0, -0.2), (0.3, -0.2), (0.1, 0.2), (0, 0.2))),
    "extrusion": Extrusion(SQUARE, 0.2, axis="x"),
    "cut": Cut(Box((0.2, 0.2, 0.2)), Ball(0.15), (0, 0.2, 0)),
}


def coordinates(points):
    return tuple(np.ascontiguousarray(points.T))


@pytest.mark.parametrize("name", PRIMITIVES)
def test_distances_never_grow_faster_than_the_way(name):
    rng = np.random.default_rng(0)
    p = rng.uniform(-0.5, 0.5, (4000, 3)).astype(np.float32)
    q = (p + rng.normal(size=p.shape) * 10 ** rng.uniform(-2, -0.5, (4000, 1))).astype(np.float32)
    difference = PRIMITIVES[name].distance(coordinates(p)) - PRIMITIVES[name].distance(coordinates(q))
    assert np.all(np.abs(difference) <= np.linalg.norm(p - q, axis=1) * (1 + 1e-4) + 1e-6)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_the_hull_touches_the_solids_box(name):
    solid = PRIMITIVES[name]
    points, radius = solid.hull()
    low, high = points.min(0) - radius, points.max(0) + radius
    p = grid(128)
    inside = p[solid.distance(coordinates(p)) < 0]
    np.testing.assert_allclose(inside.min(0), low, atol=1.5 / 128)
    np.testing.assert_allclose(inside.max(0), high, atol=1.5 / 128)


@pytest.mark.parametrize("name", [name for name in PRIMITIVES if name != "cut"])
def test_distances_are_exact(name):
    """Against the distance to the nearest sample of the surface, on a fine grid."""
    p, n = grid(96), 96
    d = PRIMITIVES[name].distance(coordinates(p)).reshape(n, n, n)
    outside = ndimage.distance_transform_edt(d >= 0) / n
    inside = ndimage.distance_transform_edt(d < 0) / n
    assert np.abs(d[d >= 0] - outside[d >= 0]).max() < 1.8 / n
    assert np.abs(-d[d < 0] - inside[d < 0]).max() < 1.8 / n


def test_a_polygon_turned_out_as_a_box_is_the_box():
    p = coordinates(np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 3)).astype(np.float32))
    box = Box((0.3, 0.2, 0.1)).distance(p)
    outline = ((-0.3, -0.2), (0.3, -0.2), (0.3, 0.2), (-0.3, 0.2))
    np.testing.assert_allclose(Extrusion(outline, 0.1).distance(p), box, atol=1e-6)
    planes = tuple((*(s * np.eye(3)[a]), (0.3, 0.2, 0.1)[a]) for a in range(3) for s in (-1, 1))
    convex = Convex(planes, ()).distance(p)
    np.testing.assert_array_equal(convex < 0, box < 0)
    assert np.all(np.abs(convex) <= np.abs(box) + 1e-6)
    drum = Lathe(((0, -0.2), (0.3, -0.2), (0.3, 0.2), (0, 0.2))).distance(p)
    np.testing.assert_allclose(drum, Cylinder(0.3, 0.2).distance(p), atol=1e-6)


def test_a_turned_part_is_where_its_matrix_says():
    part = Part(Ball(0.1), "body", (0.1, 0.0, 0.0))
    arm = Part(Tube(((0, 0, 0), (0.4, 0, 0)), 0.05), "body", (0, 0.1, 0), turn=turned("z", 90))
    assert part.distance(coordinates(np.array([[0.1, 0, 0]], np.float32)))[0] == pytest.approx(-0.1)
    assert arm.distance(coordinates(np.array([[0, 0.5, 0]], np.float32)))[0] == pytest.approx(-0.05, abs=1e-6)


def test_mirrored_parts_are_exact():
    part = Part(Box((0.05, 0.2, 0.05)), "body", (0.2, 0, 0.2), mirror="xz")
    alone = [Part(Box((0.05, 0.2, 0.05)), "body", (x, 0, z)) for x in (-0.2, 0.2) for z in (-0.2, 0.2)]
    p = coordinates(np.random.default_rng(0).uniform(-0.5, 0.5, (3000, 3)).astype(np.float32))
    np.testing.assert_allclose(part.distance(p), np.min([one.distance(p) for one in alone], 0), atol=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
def test_shapes_are_one_thick_solid_without_cavities(kind):
    p = grid()
    for index in range(5):
        shape = make(index, seed=1, kind=kind)
        inside = shape.sdf(p).reshape(R, R, R) < 0
        assert ndimage.label(inside)[1] == 1
        assert ndimage.label(np.pad(~inside, 1, constant_values=True))[1] == 1
        assert shape.thin >= 0.045
        box = np.argwhere(inside)
        size = (box.max(0) - box.min(0) + 1) / R
        assert size.max() == pytest.approx(0.9, abs=2.5 / R)
        np.testing.assert_allclose((box.max(0) + box.min(0) + 1) / 2 / R, 0.5, atol=1.5 / R)


@pytest.mark.parametrize("kind", CLASSES)
def test_colours_are_those_that_were_named(kind):
    p = grid()
    for index in range(4):
        shape = make(index, seed=1, kind=kind)
        near = p[np.abs(shape.sdf(p)) < 0.01]
        colours = shape.colour(near)
        assert colours.dtype == np.float32
        assert colours.min() >= 0
        assert colours.max() <= 1
        for name in (shape.attributes["colour"], shape.attributes["second"]):
            close = np.abs(colours - np.array(COLOURS[name])).max(1) < 0.04
            assert close.mean() > 0.02, (shape.caption(), name)


def test_everything_said_is_true_and_known():
    for index in range(300):
        shape = make(index, seed=1)
        possible = answers(shape.kind)
        assert all(value in possible[name] for name, value in shape.attributes.items())
        for generator in (None, np.random.default_rng(index)):
            prompt = text.encode(shape.caption(generator))
            assert not prompt.notes
            kind, asked = said(prompt.words)
            assert kind == shape.kind
            assert asked.items() <= shape.attributes.items()


def test_complete_fills_in_what_is_not_there():
    assert complete("car", {"style": "van"}) == {"colour": "red", "second": "red", "size": NONE, "style": "van"}


def test_said_reads_colours_by_the_part_they_stand_before():
    kind, asked = said(text.encode("tall red chair with four white legs and a high slatted back").words)
    assert kind == "chair"
    assert asked == {
        "colour": "red", "size": "tall", "legs": "four", "second": "white", "height": "high", "back": "slatted",
    }  # fmt: skip


def test_every_attribute_has_words_that_ask_for_it():
    for kind, names in ATTRIBUTES.items():
        for values in names.values():
            assert all(value in text.VOCABULARY or value in (NONE, "shelf") for value in values), kind


def test_a_number_makes_the_same_shape_every_time():
    a, b = make(7), make(7)
    p = grid(16)
    np.testing.assert_array_equal(a.sdf(p), b.sdf(p))
    assert a.caption() == b.caption()
    assert any(make(i).caption() != make(i, seed=1).caption() for i in range(3))


def test_distances_are_float32_also_for_points_that_are_not():
    shape = make(0)
    assert isinstance(shape, Shape)
    assert shape.sdf(grid(8).astype(np.float64)).dtype == np.float32


def test_bad_requests_are_named():
    with pytest.raises(UsageError, match="kind 'sofa': expected one of chair"):
        make(0, kind="sofa")
    with pytest.raises(UsageError, match="at least 0"):
        make(-1)
