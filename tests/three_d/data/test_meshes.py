"""Real models: read with care, coloured, and solid whatever their holes."""

import json

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d.data import read_mesh
from fewstep.three_d.data.meshes import MeshSolid, cells_of, model_files, read_folder, solid, solid_or_none
from fewstep.three_d.data.read_mesh import read_model
from fewstep.three_d.data.winding import direct, winding_numbers
from fewstep.three_d.lattice import Lattice

trimesh = pytest.importorskip("trimesh")


def triangles_of(mesh):
    return np.asarray(mesh.triangles, np.float32)


def ball(radius=0.3, at=(0, 0, 0)):
    return trimesh.creation.icosphere(subdivisions=2, radius=radius).apply_translation(at)


def box(extents=(0.6, 0.4, 0.2), at=(0, 0, 0)):
    return trimesh.creation.box(extents=extents).apply_translation(at)


def textured(path, *, factor=None):
    """A box whose texture is red at the left and blue at the right."""
    from PIL import Image

    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4], pixels[:, 4:] = (255, 0, 0), (0, 0, 255)
    mesh = box((1, 1, 1))
    uv = np.stack([np.where(mesh.vertices[:, 0] > 0, 0.9, 0.1), np.full(len(mesh.vertices), 0.5)], 1)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(pixels), baseColorFactor=factor)
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    if path.suffix == ".gltf":  # trimesh leaves the files that it writes itself open
        for name, content in trimesh.exchange.gltf.export_gltf(trimesh.Scene(mesh)).items():
            (path if name.endswith(".gltf") else path.with_name(name)).write_bytes(content)
    else:
        mesh.export(path)
    return path


def test_winding_numbers_of_closed_surfaces_are_whole():
    rng = np.random.default_rng(0)
    p = rng.uniform(-0.5, 0.5, (3000, 3)).astype(np.float32)
    p = p[np.abs(np.linalg.norm(p, axis=1) - 0.3) > 0.02]
    inside = np.linalg.norm(p, axis=1) < 0.3
    np.testing.assert_allclose(direct(p, triangles_of(ball())), inside, atol=1e-4)
    assert np.abs(direct(p, triangles_of(ball())[:, ::-1]) + inside).max() < 1e-4


def test_blocks_agree_with_the_definition():
    triangles = np.concatenate([triangles_of(ball(0.25, (0.1, 0, 0))), triangles_of(box())[2:]])
    axis = (np.arange(48) + 0.5) / 48 - 0.5
    p = np.stack(np.meshgrid(axis, axis, axis[20:28], indexing="ij"), -1).reshape(-1, 3)
    assert np.abs(winding_numbers(p, triangles) - direct(p.astype(np.float32), triangles)).max() < 0.03


def test_distances_and_sides_of_a_box_are_those_of_the_box(tmp_path):
    from fewstep.three_d.corpus.primitives import Box

    box((0.9, 0.6, 0.3)).export(tmp_path / "box.stl")
    one = solid(tmp_path / "box.stl")
    p = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 3)).astype(np.float32)
    expected = Box((0.45, 0.3, 0.15)).distance(tuple(p.T.copy()))
    np.testing.assert_allclose(one.sdf(p), expected, atol=2e-3)


def test_models_are_put_into_the_middle(tmp_path):
    box((20, 10, 4), at=(100, -3, 5)).export(tmp_path / "far.ply")
    one = solid(tmp_path / "far.ply")
    np.testing.assert_allclose(one.triangles.max((0, 1)), [0.45, 0.225, 0.09], atol=1e-5)
    np.testing.assert_allclose(one.triangles.min((0, 1)), [-0.45, -0.225, -0.09], atol=1e-5)


@pytest.mark.parametrize("what", ["a hole", "overlapping", "inside out"])
def test_flawed_meshes_are_solid(what, tmp_path):
    if what == "a hole":
        mesh = ball()
        mesh.update_faces(np.arange(len(mesh.faces)) > 6)
    elif what == "overlapping":
        mesh = trimesh.util.concatenate([box((0.6, 0.6, 0.2)), box((0.2, 0.6, 0.6))])
    else:
        mesh = ball()
        mesh.invert()
    mesh.export(tmp_path / "flawed.glb")
    one = solid(tmp_path / "flawed.glb")
    assert one.sdf(np.zeros((1, 3), np.float32))[0] < -0.1
    assert one.sdf(np.full((1, 3), 0.49, np.float32))[0] > 0.05
    assert len(Lattice(32, 4).take(one).coords) > 50


def test_a_sheet_gets_a_shell_that_can_be_seen(tmp_path):
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    sheet.export(tmp_path / "sheet.obj")
    one = solid(tmp_path / "sheet.obj")
    assert one.sheet
    assert one.sdf(np.zeros((1, 3), np.float32))[0] < 0
    assert len(Lattice(64, 4).take(one).coords) > 100


def test_textures_give_the_colours(tmp_path):
    one = solid(textured(tmp_path / "box.glb"))
    ends = one.colour(np.array([[-0.45, 0, 0], [0.45, 0, 0]], np.float32))
    np.testing.assert_allclose(ends, [[1, 0, 0], [0, 0, 1]], atol=0.01)


def test_factors_multiply_textures_as_light(tmp_path):
    one = solid(textured(tmp_path / "box.gltf", factor=[0.5, 1.0, 1.0, 1.0]))
    shade = one.colour(np.array([[-0.45, 0, 0]], np.float32))[0]
    assert shade[0] == pytest.approx(0.735, abs=0.02)  # half of the light in sRGB


def test_colours_of_vertices_and_faces(tmp_path):
    mesh = box((1, 1, 1))
    mesh.visual.vertex_colors = np.tile(np.array([[10, 200, 30, 255]], np.uint8), (8, 1))
    mesh.export(tmp_path / "green.ply")
    np.testing.assert_allclose(
        solid(tmp_path / "green.ply").colours, [[10, 200, 30]] * len(solid(tmp_path / "green.ply").colours), atol=1
    )


def test_scenes_are_merged_in_their_places(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(box((0.2, 0.2, 0.2)), transform=trimesh.transformations.translation_matrix([-1, 0, 0]))
    scene.add_geometry(
        box((0.2, 0.2, 0.2)),
        transform=np.diag([-1.0, 1, 1, 1]) @ trimesh.transformations.translation_matrix([-1, 0, 0]),
    )
    scene.export(tmp_path / "two.glb")
    one = solid(tmp_path / "two.glb")
    assert len(one.triangles) == 24
    inside = one.sdf(np.array([[-0.41, 0, 0], [0.41, 0, 0], [0, 0, 0]], np.float32)) < 0
    assert inside.tolist() == [True, True, False]


def test_names_that_lead_elsewhere_are_refused(tmp_path):
    file = textured(tmp_path / "inner.gltf")
    content = json.loads(file.read_text())
    outer = tmp_path / "secret.bin"
    outer.write_bytes(b"0" * 100)
    (tmp_path / "in").mkdir()
    for name in (
        "../secret.bin",
        str(outer),
        "file:///etc/passwd",
        "http://example.org/a.bin",
        "..%2Fsecret.bin",
        "C:\\a",
    ):
        content["buffers"][0]["uri"] = name
        bad = tmp_path / "in" / "bad.gltf"
        bad.write_text(json.dumps(content))
        with pytest.raises(UsageError, match="bad.gltf: refers to .* not beside it"):
            read_model(bad)
    link = tmp_path / "in" / "link.bin"
    link.symlink_to(outer)
    content["buffers"][0]["uri"] = "link.bin"
    bad.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="not beside it"):
        read_model(bad)


def test_what_cannot_be_used_is_named_with_the_reason(tmp_path, monkeypatch):
    box().export(tmp_path / "good_chair.glb")
    (tmp_path / "broken.glb").write_bytes(b"glTF nonsense")
    (tmp_path / "empty.obj").write_text("# nothing\n")
    (tmp_path / "point.obj").write_text("v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n")
    (tmp_path / "lost.gltf").write_text(
        json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "lost.bin", "byteLength": 4}]})
    )
    (tmp_path / "readme.txt").write_text("not a model")
    solids, skipped = read_folder(tmp_path)
    assert [one.name for one in solids] == ["good_chair"]
    reasons = {one.file.name: one.reason for one in skipped}
    assert set(reasons) == {"broken.glb", "empty.obj", "point.obj", "lost.gltf"}
    assert "cannot be read" in reasons["broken.glb"]
    assert "no extent" in reasons["point.obj"]
    assert "missing" in reasons["lost.gltf"]
    assert solid_or_none(tmp_path / "broken.glb") is None
    monkeypatch.setattr(read_mesh, "MOST_FACES", 5)
    with pytest.raises(UsageError, match="more than 5 triangles"):
        read_model(tmp_path / "good_chair.glb")
    monkeypatch.setattr(read_mesh, "MOST_BYTES", 5)
    with pytest.raises(UsageError, match="larger than 0 MiB"):
        read_model(tmp_path / "good_chair.glb")


def test_folders_without_models(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        model_files(tmp_path / "no")
    with pytest.raises(UsageError, match="has no model"):
        model_files(tmp_path)
    with pytest.raises(UsageError, match="expected one of"):
        read_model(tmp_path / "a.fbx")
    with pytest.raises(UsageError, match="no such file"):
        read_model(tmp_path / "a.glb")


def test_captions_tell_what_the_name_tells(tmp_path):
    mesh = box((1, 1, 1))
    mesh.visual.vertex_colors = np.tile(np.array([[210, 30, 30, 255]], np.uint8), (8, 1))
    for name, caption in (
        ("chair_A", "a red chair"),
        ("couch_pillows", "a red bench"),
        ("lamp_table", "a red lamp"),
        ("tomato", ""),
    ):
        mesh.export(tmp_path / f"{name}.ply")
        assert solid(tmp_path / f"{name}.ply").caption() == caption


def test_cells_are_kept_by_content(tmp_path):
    one = MeshSolid.of(read_model(textured(tmp_path / "box.glb")))
    first = cells_of(one, 32, 4, cache=tmp_path / "cache")
    again = cells_of(one, 32, 4, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1
    for name in ("coords", "sdf", "colour"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    cells_of(
        MeshSolid.of(read_model(textured(tmp_path / "b.glb", factor=[0.5, 1.0, 1.0, 1.0]))),
        32,
        4,
        cache=tmp_path / "cache",
    )
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2


def test_the_same_file_gives_the_same_samples(tmp_path):
    file = textured(tmp_path / "box.glb")
    a, b = read_model(file), read_model(file)
    np.testing.assert_array_equal(a.points, b.points)
    assert a.digest == b.digest
