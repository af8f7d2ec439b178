"""Pictures obey geometry: areas, symmetry, order in depth, turning, no holes."""

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh.isosurface import isosurface
from fewstep.three_d.mesh.mesh import Mesh
from fewstep.three_d.render.raster import Camera, Lights, render, visible
from tests.three_d.solids import ball, box, tint

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def painted(mesh, colour):
    return Mesh(mesh.vertices, mesh.faces, np.tile(np.array(colour, np.uint8), (len(mesh.vertices), 1)))


def joined(*meshes):
    start = np.cumsum([0, *[len(m.vertices) for m in meshes]])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + s for m, s in zip(meshes, start, strict=False)]),
        np.concatenate([m.colours for m in meshes]),
    )


def where(picture, colour):
    """Pixels of a pure colour, whatever the light on it."""
    main = int(np.argmax(colour))
    rgb = picture[..., :3].astype(int)
    return (picture[..., 3] > 0) & (rgb[..., main] > 20) & (np.delete(rgb, main, -1).max(-1) == 0)


@pytest.mark.parametrize("size", [64, 200])
@pytest.mark.parametrize("view", [(0, 0), (35, 40), (200, -80)])
def test_a_ball_is_a_disc_of_the_right_area(size, view):
    radius, distance, fov = 0.3, 3.0, 30.0
    picture = render(isosurface(ball(radius, 48)), azimuth=view[0], elevation=view[1], size=size)
    cone = np.tan(np.arcsin(radius / distance)) / np.tan(np.deg2rad(fov / 2)) * size / 2
    assert (picture[..., 3] == 255).sum() == pytest.approx(np.pi * cone**2, rel=0.02)
    rows, columns = np.nonzero(picture[..., 3])
    assert rows.mean() == pytest.approx((size - 1) / 2, abs=0.2)
    assert columns.mean() == pytest.approx((size - 1) / 2, abs=0.2)


def test_no_holes_whatever_the_size_of_faces():
    from scipy.ndimage import binary_fill_holes

    for mesh in (isosurface(ball(r=8)), isosurface(ball(r=64)), isosurface(box())):
        for size in (33, 64, 300):
            alpha = render(mesh, size=size, azimuth=12, elevation=17)[..., 3] > 0
            assert (binary_fill_holes(alpha) == alpha).all()


def test_large_faces_and_small_chunks_give_the_same(monkeypatch):
    mesh = isosurface(box(), tint())
    expected = render(mesh, size=90)
    monkeypatch.setattr("fewstep.three_d.render.raster.CHUNK", 500)
    assert (render(mesh, size=90) == expected).all()


def test_symmetric_things_look_symmetric():
    mesh = isosurface(box((0.3, 0.2, 0.1)))
    alpha = render(mesh, azimuth=0, elevation=25, size=101)[..., 3] > 0
    assert (alpha == alpha[:, ::-1]).mean() > 0.999
    left, right = (render(mesh, azimuth=a, elevation=25, size=101)[..., 3] > 0 for a in (-40, 40))
    assert (left == right[:, ::-1]).mean() > 0.998
    front, back = (render(mesh, azimuth=a, size=101) for a in (0, 180))
    assert np.abs(front.astype(int) - back).mean() < 0.1


def test_what_is_near_hides_what_is_far():
    near = painted(isosurface(ball(0.1, at=(0, 0, 0.3))), RED)
    far = painted(isosurface(ball(0.1, at=(0, 0, -0.3))), BLUE)
    for mesh in (joined(near, far), joined(far, near)):
        front, back = (render(mesh, azimuth=a, elevation=0, size=80) for a in (0, 180))
        assert where(front, RED).any()
        assert not where(front, BLUE).any()
        assert where(back, BLUE).any()
        assert not where(back, RED).any()


def test_the_camera_goes_around():
    mesh = joined(
        painted(isosurface(ball(0.1, at=(0.35, 0, 0))), RED),
        painted(isosurface(ball(0.1, at=(0, 0.35, 0))), GREEN),
        painted(isosurface(ball(0.1, at=(0, 0, 0.35))), BLUE),
    )

    def place(azimuth, elevation, colour):
        rows, columns = np.nonzero(where(render(mesh, azimuth=azimuth, elevation=elevation, size=101), colour))
        return (columns.mean() - 50, 50 - rows.mean()) if len(rows) else None

    assert place(0, 0, RED)[0] > 15
    assert abs(place(0, 0, RED)[1]) < 1
    assert place(0, 0, GREEN)[1] > 15
    assert abs(place(0, 0, GREEN)[0]) < 1
    assert np.abs(place(0, 0, BLUE)).max() < 1  # +z looks at us
    assert np.abs(place(90, 0, RED)).max() < 1  # azimuth 90 looks from +x
    assert place(90, 0, BLUE)[0] < -15
    assert place(0, 90, BLUE)[1] < -15  # from above, the front is below
    assert place(0, 0, RED)[0] > place(45, 0, RED)[0] > place(85, 0, RED)[0]


def test_nothing_in_the_box_is_cut_off():
    mesh = isosurface(np.where(box((0.45, 0.45, 0.45)) < 0, -1.0, 1.0))
    for azimuth in range(0, 90, 15):
        for elevation in (-45, 0, 20, 35, 60, 90):
            alpha = render(mesh, azimuth=azimuth, elevation=elevation, size=64)[..., 3]
            assert not np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]]).any()


def test_light_comes_from_above_and_follows_the_camera():
    mesh = isosurface(ball())
    one, other = (render(mesh, azimuth=a, elevation=0, size=64) for a in (0, 90))
    assert np.abs(one.astype(int) - other).mean() < 1
    inside = one[..., 3] > 0
    upper, lower = one[:32][inside[:32]][:, 0].mean(), one[32:][inside[32:]][:, 0].mean()
    assert upper > lower + 20
    dark = render(mesh, size=64, lights=Lights(strength=(0, 0, 0.1)))
    assert dark[dark[..., 3] > 0][:, 0].max() <= 20


def test_colours_are_interpolated():
    triangle = Mesh([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0, 0.4, 0]], [[0, 1, 2]], np.eye(3, dtype=np.uint8) * 255)
    flat = Lights(strength=(0, 0, 1))
    picture = render(triangle, azimuth=0, elevation=0, size=64, lights=flat)
    hit = picture[picture[..., 3] > 0][:, :3].astype(int)
    assert np.abs(hit.sum(1) - 255).max() <= 2  # barycentric weights add to one
    assert (hit.max(0) > 230).all()


def test_backs_are_seen_only_if_asked():
    triangle = Mesh([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0, 0.4, 0]], [[0, 1, 2]])
    assert render(triangle, azimuth=0, elevation=0)[..., 3].any()
    assert not render(triangle, azimuth=180, elevation=0)[..., 3].any()
    back = render(triangle, azimuth=180, elevation=0, two_sided=True)
    front = render(triangle, azimuth=0, elevation=0, two_sided=True)
    assert np.abs(back[::, ::-1].astype(int) - front).max() <= 40  # lit as a front is


def test_supersampling_softens_the_edge_only():
    mesh = isosurface(ball())
    rough, soft = render(mesh, size=64), render(mesh, size=64, supersample=4)
    assert set(np.unique(rough[..., 3])) == {0, 255}
    assert len(np.unique(soft[..., 3])) > 8
    assert soft[..., 3].mean() == pytest.approx(rough[..., 3].mean(), rel=0.01)
    inner = (rough[..., 3] == 255) & (soft[..., 3] == 255)
    assert np.abs(rough[inner].astype(int) - soft[inner]).mean() < 2


def test_a_background_is_laid_under():
    picture = render(isosurface(ball()), size=32, background=(1, 0.5, 0))
    assert picture[0, 0].tolist() == [255, 128, 0, 255]
    assert (picture[..., 3] == 255).all()
    assert render(isosurface(ball()), size=32)[0, 0].tolist() == [0, 0, 0, 0]


def test_depth_is_in_perspective():
    """A long floor: the point seen at a pixel is where its ray meets the floor."""
    floor = Mesh([[-0.4, 0, -0.4], [0.4, 0, -0.4], [0.4, 0, 0.4], [-0.4, 0, 0.4]], [[0, 2, 1], [0, 3, 2]])
    camera, n = Camera(20, 25), 63
    face, weights = visible(floor, camera, n)
    hit = np.flatnonzero(face >= 0)
    points = np.einsum("nk,nkc->nc", weights[hit], floor.vertices[floor.faces[face[hit]]])
    right, up, back = camera.axes
    half = np.tan(np.deg2rad(camera.fov / 2))
    u, v = (hit % n + 0.5) / n * 2 - 1, 1 - (hit // n + 0.5) / n * 2
    rays = -back + u[:, None] * half * right + v[:, None] * half * up
    origin = back * camera.distance
    expected = origin - rays * (origin[1] / rays[:, 1:2])
    assert len(hit) > 400
    assert np.abs(points - expected).max() < 1e-5


def test_an_empty_mesh_is_an_empty_picture():
    assert not render(Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)), size=8).any()


def test_a_camera_within_the_mesh_does_not_fail():
    assert render(isosurface(ball()), distance=0.2, size=16).shape == (16, 16, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "at least 1, got 0"),
        ({"supersample": 0}, "at least 1"),
        ({"elevation": 91}, "-90 to 90 degrees, got 91"),
        ({"fov": 180}, "0 < fov < 180"),
        ({"distance": 0}, "positive distance"),
    ],
)
def test_impossible_pictures(options, message):
    with pytest.raises(UsageError, match=message):
        render(isosurface(ball(r=8)), **options)
