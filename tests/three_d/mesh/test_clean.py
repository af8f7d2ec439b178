"""Reports tell the truth; mending keeps what is good."""

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh import clean
from fewstep.three_d.mesh.isosurface import isosurface
from fewstep.three_d.mesh.mesh import Mesh, compact
from tests.three_d.solids import ball, box, tint


@pytest.fixture(scope="module")
def several():
    """A large ball with a hollow, a small one and a tiny one."""
    r = 48
    sdf = np.minimum(np.maximum(ball(0.3, r), -ball(0.15, r)), ball(0.08, r, at=(0.38, 0.38, 0.38)))
    return isosurface(np.minimum(sdf, ball(0.03, r, at=(-0.4, 0.4, 0.4))), tint(r))


def test_a_report(several):
    told = clean.report(several)
    assert (told.components, told.watertight, told.holes) == (4, True, 0)
    expected = 4 / 3 * np.pi * (0.3**3 - 0.15**3 + 0.08**3 + 0.03**3)
    assert told.volume == pytest.approx(expected, rel=0.01)
    assert (told.vertices, told.faces) == (len(several.vertices), len(several.faces))
    large = clean.report(several, size=2.0)
    factor = 2.0 / max(told.extents)
    assert large.extents == pytest.approx([side * factor for side in told.extents])
    assert large.volume == pytest.approx(told.volume * factor**3)
    assert large.area == pytest.approx(told.area * factor**2)
    assert sorted(clean.volumes(several)) == sorted(clean.volumes(several.scaled(1)))
    assert (clean.volumes(several) < 0).sum() == 1


def test_holes_are_counted():
    mesh = isosurface(ball(r=24))
    ends = [np.abs(mesh.vertices[mesh.faces].mean(1) - at).sum(1).argmin() for at in ([0, 0.35, 0], [0, -0.35, 0])]
    opened = Mesh(mesh.vertices, np.delete(mesh.faces, ends, 0))
    told = clean.report(opened)
    assert (told.watertight, told.holes, told.components) == (False, 2, 1)
    assert clean.report(Mesh(np.eye(3), [[0, 1, 2]])).holes == 1
    empty = clean.report(Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)))
    assert (empty.faces, empty.components, empty.holes, empty.watertight) == (0, 0, 0, False)


@pytest.mark.parametrize(("share", "left", "gone"), [(0, 4, 0), (0.0001, 3, 1), (0.002, 2, 2), (0.03, 1, 3), (1, 1, 3)])
def test_crumbs_are_dropped(several, share, left, gone):
    mesh, dropped = clean.without_crumbs(several, share=share)
    told = clean.report(mesh)
    assert (told.components, dropped, told.watertight) == (left, gone, True)
    assert len(np.unique(mesh.faces)) == len(mesh.vertices) == len(mesh.colours)
    assert share == 0 or (clean.volumes(mesh) > 0).all()
    assert np.abs(mesh.colours / 255 - (mesh.vertices + 0.5)).max() < 0.01  # colours stay with their places
    with pytest.raises(UsageError, match="share is from 0 to 1, got -1"):
        clean.without_crumbs(several, share=-1)


def test_a_single_part_is_kept_whatever_its_size():
    mesh = isosurface(ball(0.05))
    assert clean.without_crumbs(mesh, share=1) == (mesh, 0)


def test_smoothing_keeps_the_volume_and_smooths():
    rough = ball(0.35, 32) + 0.02 * np.random.default_rng(0).standard_normal((32, 32, 32)).astype(np.float32)
    mesh = clean.without_crumbs(isosurface(rough, tint()), share=1)[0]
    smooth = clean.smoothed(mesh, rounds=15)
    assert smooth.volume == pytest.approx(mesh.volume, rel=1e-4)
    assert smooth.watertight
    assert (smooth.faces == mesh.faces).all()
    assert smooth.colours is mesh.colours
    spread = [np.linalg.norm(m.vertices, axis=1).std() for m in (mesh, smooth)]
    assert spread[1] < 0.8 * spread[0]
    cube = clean.smoothed(isosurface(box((0.3, 0.3, 0.3))), rounds=10)
    assert cube.extents == pytest.approx([0.6] * 3, abs=0.03)  # it does not shrink
    assert clean.smoothed(mesh, rounds=0) is mesh
    with pytest.raises(UsageError, match="rounds is at least 0, got -1"):
        clean.smoothed(mesh, rounds=-1)


def test_fewer_faces():
    pytest.importorskip("fast_simplification")
    mesh = isosurface(ball(r=48), tint(48))
    small = clean.simplified(mesh, 1000)
    assert len(small.faces) <= 1000
    assert small.watertight
    assert small.volume == pytest.approx(mesh.volume, rel=0.02)
    assert np.abs(small.colours / 255 - (small.vertices + 0.5)).max() < 0.04
    assert clean.simplified(mesh, 10**6) is mesh


def test_fewer_faces_need_another_package(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    with pytest.raises(UsageError, match="pip install fast-simplification"):
        clean.simplified(isosurface(ball(r=12)), 100)
    with pytest.raises(UsageError, match="at least 4 faces, got 3"):
        clean.simplified(isosurface(ball(r=12)), 3)


def test_vertices_that_nothing_uses_go():
    mesh = Mesh(np.arange(15).reshape(5, 3), [[1, 3, 4]], np.arange(15, dtype=np.uint8).reshape(5, 3))
    small = compact(mesh)
    assert small.vertices[:, 0].tolist() == [3, 9, 12]
    assert small.colours[:, 0].tolist() == [3, 9, 12]
    assert small.faces.tolist() == [[0, 1, 2]]
    assert compact(small) is small
