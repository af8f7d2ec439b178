"""Surfaces of fields: closed, outward, in the right place, with the right colours."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh.isosurface import EmptyShape, isosurface, trilinear
from fewstep.three_d.mesh.mesh import Mesh
from tests.three_d.solids import ball, box, tint


@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from(["normal", "ties", "rounded", "smooth"]))
@example(11, 12, "ties")
def test_any_field_is_watertight(seed, r, kind):
    generator = np.random.default_rng(seed)
    field = generator.standard_normal((r, r, r))
    if kind == "ties":  # ambiguous faces, samples on the surface
        field = generator.integers(-2, 3, (r, r, r)).astype(float)
    elif kind == "rounded":
        field = np.round(field, 1)
    elif kind == "smooth":
        field = np.cumsum(np.cumsum(np.cumsum(field, 0), 1), 2)
    if not (field < 0).any():
        field = -field - 1e-3
    mesh = isosurface(field)
    assert mesh.watertight
    assert mesh.volume > 0
    assert np.abs(mesh.vertices).max() <= 0.5
    a, b, c = mesh.faces.T
    assert ((a != b) & (b != c) & (c != a)).all()
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices) == len(np.unique(mesh.faces))


def test_ties_that_need_the_jitter():
    field = np.round(np.random.default_rng(11).standard_normal((33, 33, 33)), 1)
    assert isosurface(field).watertight


def test_a_ball_has_its_volume_and_looks_outward():
    mesh = isosurface(ball(0.35, 48))
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.35**3, rel=0.005)
    assert mesh.area == pytest.approx(4 * np.pi * 0.35**2, rel=0.005)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.35).max() < 2e-4
    centre = mesh.vertices[mesh.faces].mean(1)
    assert (np.einsum("ij,ij->i", centre, mesh.face_vectors) > 0).all()
    assert np.einsum("ij,ij->i", mesh.normals, mesh.vertices / 0.35).min() > 0.99


def test_the_axes_are_x_y_z():
    assert isosurface(box((0.3, 0.2, 0.1))).extents == pytest.approx([0.6, 0.4, 0.2], abs=0.01)
    mesh = isosurface(ball(0.1, at=(0.3, -0.2, 0.1)))
    assert mesh.vertices.mean(0) == pytest.approx([0.3, -0.2, 0.1], abs=0.01)


def test_what_touches_the_border_is_closed_there():
    full = isosurface(np.full((8, 8, 8), -1.0))
    assert full.watertight
    assert full.extents == pytest.approx([1, 1, 1])
    cut = isosurface(ball(0.3, at=(0.5, 0, 0)))
    assert cut.watertight
    assert cut.vertices[:, 0].max() == pytest.approx(0.5, abs=1e-4)
    assert cut.volume == pytest.approx(2 / 3 * np.pi * 0.3**3, rel=0.03)


@pytest.mark.parametrize("unit", [1e-4, 1 / 32, 16.0, 1e5])
def test_the_unit_of_the_distances_does_not_matter(unit):
    expected, got = isosurface(ball()), isosurface(ball() * unit)
    assert (got.faces == expected.faces).all()
    assert np.abs(got.vertices - expected.vertices).max() < 1e-5


def test_distances_cut_off_at_a_cell_give_the_same_surface():
    expected, got = isosurface(ball()), isosurface(np.clip(ball() * 8, -1, 1))
    assert (got.faces == expected.faces).all()
    assert np.abs(got.vertices - expected.vertices).max() < 1e-5


def test_colours_are_those_of_the_place():
    mesh = isosurface(ball(), tint())
    assert np.abs(mesh.colours / 255 - (mesh.vertices + 0.5)).max() < 0.5 / 255 + 1e-4


def test_trilinear_is_exact_on_planes_and_constant_beyond():
    grid = tint(8) @ np.array([1.0, -2.0, 0.5])
    points = np.random.default_rng(0).uniform(-0.43, 0.43, (100, 3))
    assert trilinear(grid, points) == pytest.approx((points + 0.5) @ [1.0, -2.0, 0.5], abs=1e-5)
    assert trilinear(grid, np.array([[9.0, 9.0, 9.0]])) == pytest.approx(grid[-1, -1, -1])


@pytest.mark.parametrize(
    ("field", "colour", "message"),
    [
        (np.zeros((4, 4)), None, r"cube \[R, R, R\] with R >= 2, got \[4, 4\]"),
        (np.zeros((4, 4, 5)), None, r"got \[4, 4, 5\]"),
        (np.zeros((1, 1, 1)), None, "R >= 2"),
        (np.full((4, 4, 4), np.nan), None, "must be finite"),
        (-np.ones((4, 4, 4)), np.zeros((4, 4, 4)), r"expected colours \[4, 4, 4, 3\], got \[4, 4, 4\]"),
    ],
)
def test_what_is_no_field(field, colour, message):
    with pytest.raises(UsageError, match=message):
        isosurface(field, colour)


def test_nothing_inside():
    with pytest.raises(EmptyShape, match="no sample of the field is inside"):
        isosurface(np.ones((4, 4, 4)))


@pytest.mark.parametrize(
    ("vertices", "faces", "colours", "message"),
    [
        (np.zeros((3, 2)), np.zeros((1, 3)), None, r"vertices are \[V, 3\], got \[3, 2\]"),
        (np.zeros((3, 3)), np.zeros((1, 4)), None, r"faces are \[F, 3\], got \[1, 4\]"),
        (np.zeros((3, 3)), [[0, 1, 3]], None, "vertices 0 to 2, got 0 to 3"),
        (np.zeros((3, 3)), [[0, 1, -1]], None, "vertices 0 to 2, got -1 to 1"),
        (np.full((3, 3), np.inf), [[0, 1, 2]], None, "must be finite"),
        (np.zeros((3, 3)), [[0, 1, 2]], np.zeros((3, 3)), r"uint8 \[3, 3\] like the vertices, got float64"),
        (np.zeros((3, 3)), [[0, 1, 2]], np.zeros((2, 3), np.uint8), r"got uint8 \[2, 3\]"),
    ],
)
def test_what_is_no_mesh(vertices, faces, colours, message):
    with pytest.raises(UsageError, match=message):
        Mesh(vertices, faces, colours)


def test_open_and_flipped_meshes_are_not_watertight():
    mesh = isosurface(ball(r=12))
    assert not Mesh(mesh.vertices, mesh.faces[1:]).watertight
    turned = mesh.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not Mesh(mesh.vertices, turned).watertight
    assert not Mesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces])).watertight
    assert not Mesh(mesh.vertices, mesh.faces[:0]).watertight
    assert Mesh(mesh.vertices, mesh.faces[:, ::-1]).watertight  # inside out, but closed
    assert Mesh(mesh.vertices, mesh.faces[:, ::-1]).volume == pytest.approx(-mesh.volume)
