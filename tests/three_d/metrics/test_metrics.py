"""Distances on cases whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import linalg
from scipy.spatial import cKDTree

from fewstep.core.errors import UsageError
from fewstep.three_d import metrics


def clouds(n, points, seed):
    return list(np.random.default_rng(seed).uniform(-0.5, 0.5, (n, points, 3)).astype(np.float32))


def cube(at=(0.0, 0.0, 0.0)):
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6],
             [0, 6, 4], [1, 5, 7], [1, 7, 3]]  # fmt: skip
    return SimpleNamespace(vertices=corners + np.array(at, np.float32), faces=np.array(faces), colours=None)


def test_chamfer_of_two_points_is_twice_their_squared_distance():
    assert metrics.chamfer(np.zeros((1, 3)), np.array([[0.3, 0.4, 0]])) == pytest.approx(0.5)
    assert metrics.chamfer(np.zeros((1, 3)), np.array([[0, 0, 0], [1, 0, 0]])) == pytest.approx(0.5)


def test_chamfer_is_what_a_tree_finds():
    a, b = clouds(1, 200, 0)[0], clouds(1, 300, 1)[0]
    expected = np.mean(cKDTree(b).query(a)[0] ** 2) + np.mean(cKDTree(a).query(b)[0] ** 2)
    assert metrics.chamfer(a, b) == pytest.approx(expected, rel=1e-4)
    assert metrics.chamfer(a, a[::-1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("elements", [1, 1000, 1 << 20])
def test_the_matrix_is_all_pairs_whatever_the_chunks(elements):
    a, b = clouds(3, 40, 0), clouds(4, 30, 1)
    expected = [[metrics.chamfer(x, y) for y in b] for x in a]
    np.testing.assert_allclose(metrics.chamfer_matrix(a, b, elements=elements), expected, rtol=1e-5, atol=1e-7)
    own = metrics.chamfer_matrix(a, elements=elements)
    np.testing.assert_allclose(own, [[metrics.chamfer(x, y) for y in a] for x in a], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros((4, 2)), np.zeros(3)])
def test_chamfer_names_what_is_not_points(bad):
    with pytest.raises(UsageError, match="expected points"):
        metrics.chamfer(bad, np.zeros((1, 3)))


def test_the_matrix_names_uneven_and_empty_lists():
    with pytest.raises(UsageError, match="same number of points"):
        metrics.chamfer_matrix([np.zeros((2, 3)), np.zeros((3, 3))])
    with pytest.raises(UsageError, match="at least one set"):
        metrics.chamfer_matrix([])


def test_sets_on_a_line():
    generated, references = np.array([0.0, 0.1, 5.0]), np.array([0.0, 1.0, 6.0])
    across = np.abs(generated[:, None] - references)
    assert metrics.minimum_matching_distance(across) == pytest.approx((0 + 0.9 + 1) / 3)
    assert metrics.coverage(across) == pytest.approx(2 / 3)


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def test_one_law_cannot_be_told_apart_and_two_can():
    rng = np.random.default_rng(0)
    a, b, far = rng.normal(size=(300, 3)), rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + 20
    same = metrics.nearest_neighbour_accuracy(distances(a, a), distances(a, b), distances(b, b))
    apart = metrics.nearest_neighbour_accuracy(distances(a, a), distances(a, far), distances(far, far))
    copied = metrics.nearest_neighbour_accuracy(distances(a, a), distances(a, a + 1e-9), distances(a, a))
    assert same == pytest.approx(0.5, abs=0.08)
    assert apart == 1
    assert copied == 0


def test_accuracy_of_a_mode_that_collapsed():
    """All generated in one place: each has its own kind nearest, and some references do."""
    rng = np.random.default_rng(0)
    b, a = rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) * 1e-3
    found = metrics.nearest_neighbour_accuracy(distances(a, a), distances(a, b), distances(b, b))
    assert found > 0.8
    assert metrics.coverage(distances(a, b)) < 0.05


def test_sets_name_what_does_not_fit():
    with pytest.raises(UsageError, match="same size"):
        metrics.nearest_neighbour_accuracy(np.zeros((2, 2)), np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(UsageError, match="a matrix of distances"):
        metrics.coverage(np.zeros(3))


def test_frechet_is_the_formula_with_a_matrix_root():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(300, 5)) + 1
    c, e = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c + e - 2 * linalg.sqrtm(c @ e).real)
    assert metrics.frechet(a, b) == pytest.approx(expected, rel=1e-8)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-8)
    assert metrics.frechet(a, a + 2) == pytest.approx(20)


def test_frechet_of_one_feature():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1000, 1))
    assert metrics.frechet(a, 3 * a) == pytest.approx(4 * a.mean() ** 2 + (2 * a.std(ddof=1)) ** 2)


def test_frechet_names_what_does_not_fit():
    with pytest.raises(UsageError, match="at least two items"):
        metrics.frechet(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(UsageError, match="expected features"):
        metrics.frechet(np.zeros((4, 2)), np.zeros((4, 3)))


def test_iou():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert metrics.occupancy_iou(a, b) == 1
    a[:2], b[1:3] = True, True
    assert metrics.occupancy_iou(a, b) == pytest.approx(1 / 3)
    with pytest.raises(UsageError, match="two bool grids"):
        metrics.occupancy_iou(a, b.astype(float))


def test_surface_points_lie_on_the_faces_evenly():
    mesh = cube()
    points, normals, colours = metrics.surface_points(mesh, 6000, np.random.default_rng(0))
    assert colours is None
    on = np.isclose(points, 0, atol=1e-6) | np.isclose(points, 1, atol=1e-6)
    assert on.any(1).all()
    for axis in range(3):
        for side in (-1, 1):
            assert np.isclose(normals[:, axis], side).mean() == pytest.approx(1 / 6, abs=0.002)
    np.testing.assert_allclose(points.mean(0), 0.5, atol=0.02)


def test_surface_points_have_the_colours_between_the_corners():
    mesh = cube()
    mesh.colours = (mesh.vertices * 255).astype(np.uint8)
    points, _, colours = metrics.surface_points(mesh, 50, np.random.default_rng(0))
    np.testing.assert_allclose(colours, points, atol=1e-6)


def test_surface_points_name_an_empty_mesh():
    empty = SimpleNamespace(vertices=np.zeros((0, 3), np.float32), faces=np.zeros((0, 3), int), colours=None)
    with pytest.raises(UsageError, match="no surface"):
        metrics.surface_points(empty, 5, np.random.default_rng(0))


def test_silhouette_distance_grows_with_what_differs():
    rng = np.random.default_rng(0)
    a, b = rng.random((200, 24)), rng.random((200, 24))
    assert metrics.silhouette_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert metrics.silhouette_distance(b, a) < metrics.silhouette_distance(b + 1, a)
    with pytest.raises(UsageError, match="at least two shapes"):
        metrics.silhouette_distance(a[:1], a)
