"""Files of every format: strict rules, round trips through another reader, whole or not at all."""

import shutil

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh.export import FORMATS, save, sized
from fewstep.three_d.mesh.gaussians import SH0, even_points, surfels, turn_to
from fewstep.three_d.mesh.glb import glb, linear
from fewstep.three_d.mesh.isosurface import isosurface
from fewstep.three_d.mesh.mesh import Mesh
from tests.three_d.mesh import gltf
from tests.three_d.solids import ball, box, tint


@pytest.fixture(scope="module")
def mesh():
    return isosurface(box((0.4, 0.3, 0.15), at=(0.02, 0.0, -0.1)), tint())


def loaded(file):
    import trimesh

    return trimesh.load(file, force="mesh", process=False)


def test_glb_keeps_the_rules(mesh):
    arrays, faces, tree = gltf.read(glb(mesh, name="a box", facts={"prompt": 'a "box" ☺', "seed": 3}))
    assert (arrays["POSITION"] == mesh.vertices).all()
    assert (faces == mesh.faces).all()
    assert np.abs(arrays["NORMAL"] - mesh.normals).max() < 1e-6
    assert tree["asset"]["extras"] == {"prompt": 'a "box" ☺', "seed": 3}
    assert tree["nodes"][0]["name"] == "a box"
    material = tree["materials"][0]
    assert (material["alphaMode"], material["doubleSided"]) == ("OPAQUE", False)
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_glb_has_linear_colours(mesh):
    colour = gltf.read(glb(mesh))[0]["COLOR_0"]
    assert (colour[:, 3] == 1).all()
    srgb = np.where(colour <= 0.0031308, colour * 12.92, 1.055 * colour ** (1 / 2.4) - 0.055)
    assert (np.rint(srgb[:, :3] * 255) == mesh.colours).all()  # no colour is lost, the dark ones neither
    assert linear(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.21404, 1], abs=1e-5)


def test_glb_of_meshes_of_all_kinds():
    plain = isosurface(ball(r=12))
    arrays, _, tree = gltf.read(glb(plain))
    assert "COLOR_0" not in arrays
    assert tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"][0] == pytest.approx(0.5225)
    one = Mesh(np.eye(3), [[0, 1, 2]], np.zeros((3, 3), np.uint8))
    gltf.read(glb(one))
    for count, kind in ((65535, 5123), (65536, 5125)):
        many = Mesh(np.random.default_rng(0).random((count, 3)), [[0, 1, count - 1]])
        _, faces, tree = gltf.read(glb(many))
        assert faces.max() == count - 1
        assert tree["accessors"][-1]["componentType"] == kind


def test_the_strict_reader_is_strict(mesh):
    good = glb(mesh)
    for broken in (
        good[:-4],
        good.replace(b'"max":[', b'"max":[9'),
        good.replace(b'"target":34963', b'"target":34962'),
    ):
        with pytest.raises((AssertionError, ValueError)):
            gltf.read(broken)


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_reader_sees_the_same_solid(mesh, tmp_path, suffix):
    file = save(mesh, tmp_path / f"new folder/a box{suffix}", size=2.0, facts={"prompt": "a\nbox\n☺", "seed": 1})
    got = loaded(file)
    if suffix == ".stl":
        got.merge_vertices()
        got.apply_scale(1e-3)
        assert got.extents == pytest.approx(sized(mesh, 2.0).extents[[0, 2, 1]], rel=1e-5)  # z is up
        height = (got.vertices[:, 2].max(), sized(mesh, 2.0).vertices[:, 1].max())
        front = (got.vertices[:, 1].min(), -sized(mesh, 2.0).vertices[:, 2].max())
        assert height[0] == pytest.approx(height[1], rel=1e-5)
        assert front[0] == pytest.approx(front[1], rel=1e-5)
    else:
        assert np.abs(got.vertices - sized(mesh, 2.0).vertices).max() < 1e-5
        assert (got.faces == mesh.faces).all()
    assert got.is_watertight
    assert got.is_winding_consistent
    assert got.volume == pytest.approx(mesh.volume * (2 / mesh.extents.max()) ** 3, rel=1e-4)
    if suffix in (".obj", ".ply"):
        assert np.abs(got.visual.vertex_colors[:, :3].astype(int) - mesh.colours).max() <= 1
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", FORMATS)
def test_meshes_without_colours_can_be_written(tmp_path, suffix):
    plain = isosurface(ball(r=12))
    assert len(loaded(save(plain, tmp_path / f"a{suffix}")).faces) == len(plain.faces)


def test_suffixes_of_any_case(mesh, tmp_path):
    assert save(mesh, tmp_path / "A.GLB").read_bytes()[:4] == b"glTF"


def test_wrong_use(mesh, tmp_path):
    with pytest.raises(UsageError, match=r"a\.fbx: expected a name that ends in \.glb, \.obj, \.ply, \.stl"):
        save(mesh, tmp_path / "a.fbx")
    with pytest.raises(UsageError, match="positive number of metres, got -1"):
        save(mesh, tmp_path / "a.glb", size=-1)
    with pytest.raises(UsageError, match="has no faces"):
        save(Mesh(mesh.vertices, mesh.faces[:0]), tmp_path / "a.obj")
    with pytest.raises(UsageError, match="has no faces"):
        glb(Mesh(mesh.vertices, mesh.faces[:0]))
    (tmp_path / "b.glb").mkdir()
    with pytest.raises(OSError, match="Is a directory|denied|exists"):
        save(mesh, tmp_path / "b.glb")
    assert [file.name for file in tmp_path.iterdir()] == ["b.glb"]
    shutil.rmtree(tmp_path / "b.glb")


def splats(file):
    """Properties by name, as 3D Gaussian Splatting reads them."""
    head, body = file.read_bytes().split(b"end_header\n", 1)
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[2])
    values = np.frombuffer(body, "<f4").reshape(count, len(names))
    return names, dict(zip(names, values.T, strict=True))


def test_gaussians_lie_flat_on_the_surface(tmp_path):
    radius = 0.35
    mesh = isosurface(ball(radius, 48), tint(48))
    cloud = surfels(mesh, count=3000)
    assert len(cloud) == 3000
    assert np.abs(np.linalg.norm(cloud.means, axis=1) - radius).max() < 2e-3
    outward = cloud.means / np.linalg.norm(cloud.means, axis=1, keepdims=True)
    assert np.einsum("ij,ij->i", cloud.normals, outward).min() > 0.99
    assert cloud.scales[:, 2].max() < 0.2 * cloud.scales[:, 0].min()
    area = cloud.scales[0, 0] ** 2 / 0.7**2 * 3000
    assert area == pytest.approx(4 * np.pi * radius**2, rel=0.01)
    assert np.abs(cloud.colours / 255 - (cloud.means + 0.5)).max() < 0.02
    names, got = splats(cloud.save(tmp_path / "a.ply", facts={"seed": 1}))
    assert names == [
        "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity",
        "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
    ]  # fmt: skip
    assert np.exp(got["scale_2"]) == pytest.approx(cloud.scales[:, 2], rel=1e-4)
    assert 1 / (1 + np.exp(-got["opacity"])) == pytest.approx(cloud.opacity, rel=1e-4)
    assert 0.5 + SH0 * got["f_dc_1"] == pytest.approx(cloud.colours[:, 1] / 255, abs=1e-5)
    w, x, y, z = (got[f"rot_{k}"] for k in range(4))
    third = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], 1)
    assert np.abs(third - cloud.normals).max() < 1e-5  # the thin axis is the normal


def test_gaussians_are_spread_evenly_and_always_the_same():
    mesh = isosurface(ball(0.35, 48))
    one, two = surfels(mesh, count=4000), surfels(mesh, count=4000)
    assert (one.means == two.means).all()
    for axis in range(3):  # Archimedes: slices of equal height have equal area
        low, high = (one.means[:, axis] < -0.175).mean(), (one.means[:, axis] > 0.175).mean()
        assert low == pytest.approx(0.25, abs=0.005)
        assert high == pytest.approx(0.25, abs=0.005)
    from scipy.spatial import cKDTree

    nearest = cKDTree(one.means).query(one.means, k=2)[0][:, 1]
    assert (nearest < 0.1 * np.sqrt(mesh.area / 4000)).mean() < 0.05
    double = one.scaled(2)
    assert (double.scales == one.scales * 2).all()
    assert (double.means == one.means * 2).all()


def test_turning_upside_down():
    q = turn_to(np.array([[0, 0, -1.0], [0, 0, 1.0]]))
    assert q.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


def test_wrong_use_of_gaussians(mesh, tmp_path):
    with pytest.raises(UsageError, match="count is at least 1, got 0"):
        surfels(mesh, count=0)
    with pytest.raises(UsageError, match="has no area"):
        even_points(Mesh(np.zeros((3, 3)), [[0, 1, 2]]), 5)
    with pytest.raises(UsageError, match=r"Gaussians are written as \.ply"):
        surfels(mesh, count=5).save(tmp_path / "a.splat")
