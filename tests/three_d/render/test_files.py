"""Turntables, sheets and pages."""

import base64
import json
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh.isosurface import isosurface
from fewstep.three_d.mesh.mesh import Mesh
from fewstep.three_d.render import turntable, viewer
from fewstep.three_d.render.page import SCRIPT
from fewstep.three_d.render.raster import Camera
from fewstep.three_d.render.viewer import Exhibit, frame, page, save_page
from tests.three_d.mesh import gltf
from tests.three_d.solids import ball, box, tint


@pytest.fixture(scope="module")
def mesh():
    return isosurface(box((0.4, 0.2, 0.1), r=24), tint(24))


def test_a_gif_turns_forever(mesh, tmp_path):
    file = turntable.save_turntable(tmp_path / "a.gif", mesh, count=8, size=48, fps=20)
    expected = turntable.frames(mesh, count=8, size=48)
    with Image.open(file) as opened:
        assert (opened.n_frames, opened.size, opened.info["loop"], opened.info["duration"]) == (8, (48, 48), 0, 50)
        for k, frame_ in enumerate(expected):
            opened.seek(k)
            assert np.abs(np.asarray(opened.convert("RGB")).astype(int) - frame_).mean() < 4


def test_a_webp_turns_too(mesh, tmp_path):
    with Image.open(turntable.save_turntable(tmp_path / "a.webp", mesh, count=4, size=32)) as opened:
        assert opened.n_frames == 4


def test_an_mp4_has_its_pictures(mesh, tmp_path):
    cv2 = pytest.importorskip("cv2")
    file = turntable.save_turntable(tmp_path / "a.mp4", mesh, count=6, size=65)
    film = cv2.VideoCapture(str(file))
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == 6
    ok, first = film.read()
    film.release()
    assert ok
    assert first.shape == (64, 64, 3)  # sides are even
    expected = turntable.frames(mesh, count=1, size=65)[0][:64, :64]
    assert np.abs(first[..., ::-1].astype(int) - expected).mean() < 12
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


def test_no_codec_for_mp4(mesh, tmp_path, monkeypatch):
    writer = types.SimpleNamespace(isOpened=lambda: False, release=lambda: None)
    maker = lambda *a: writer  # noqa: E731
    maker.fourcc = lambda *a: 0
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoWriter=maker))
    with pytest.raises(UsageError, match=r"no codec for MP4 here: write a \.gif"):
        turntable.save_turntable(tmp_path / "a.mp4", mesh, count=1, size=16)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match="MP4 needs OpenCV"):
        turntable.save_turntable(tmp_path / "a.mp4", mesh, count=1, size=16)
    assert list(tmp_path.iterdir()) == []


def test_the_turn_shows_all_of_it():
    for solid in (box((0.45, 0.1, 0.1)), box((0.1, 0.45, 0.1)), box((0.45, 0.45, 0.45))):
        mesh = isosurface(solid)
        for picture in turntable.frames(mesh, count=8, size=48, background=(0, 0, 1), supersample=1):
            rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
            assert (rim == [0, 0, 255]).all()
            assert (picture[..., 0] > 0).sum() > 40


def test_progress_is_told(mesh):
    parts = []
    turntable.frames(mesh, count=4, size=16, progress=parts.append)
    assert parts == [0.25, 0.5, 0.75, 1.0]


def test_a_sheet_has_a_place_for_each(mesh):
    picture = turntable.sheet([mesh] * 5, ["a box"] * 5, size=64)
    tall = picture.shape[0] // 2
    assert picture.shape[1] == 3 * 64
    paper = np.rint(np.array(turntable.PAPER) * 255)
    filled = [
        (np.abs(picture[r * tall : r * tall + 64, c * 64 : c * 64 + 64] - paper) > 9).any()
        for r in range(2)
        for c in range(3)
    ]
    assert filled == [True] * 5 + [False]
    assert (np.abs(picture[64:tall, :64] - paper) > 99).any()  # a caption
    assert turntable.sheet([mesh], columns=2, size=16).shape == (16, 32, 3)
    turntable.sheet([mesh], ["a very long caption of many words that must be broken " * 3], size=64)


def test_pictures_of_every_format(mesh, tmp_path):
    picture = turntable.portrait(mesh, size=24)
    for name in ("a.png", "a.webp", "a.jpg"):
        with Image.open(turntable.save_picture(tmp_path / name, picture)) as opened:
            assert opened.size == (24, 24)
            assert opened.mode == ("RGB" if name == "a.jpg" else "RGBA")
            if name == "a.jpg":
                assert min(opened.getpixel((0, 0))) > 250  # white under what is transparent


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mesh, out: turntable.save_turntable(out / "a.avi", mesh), r"a turntable ends in \.gif, \.mp4, \.webp"),
        (lambda mesh, out: turntable.save_picture(out / "a.gif", np.zeros((4, 4, 3))), r"a picture ends in \.png"),
        (lambda mesh, out: turntable.frames(mesh, count=0), "count is at least 1, got 0"),
        (lambda mesh, out: turntable.sheet([]), "at least one mesh"),
        (lambda mesh, out: turntable.sheet([mesh], ["a", "b"]), "one caption per mesh, 1, got 2"),
        (lambda mesh, out: save_page(out / "a.txt", [mesh]), r"a page ends in \.html"),
        (lambda mesh, out: page([]), "at least one shape"),
        (lambda mesh, out: page([Mesh(mesh.vertices, mesh.faces[:0])]), "no faces"),
    ],
)
def test_wrong_use(mesh, tmp_path, call, message):
    with pytest.raises(UsageError, match=message):
        call(mesh, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_holds_everything_and_asks_the_network_for_nothing(mesh, tmp_path):
    bad = "</script><script>alert(1)</script> & \u2028"
    file = save_page(tmp_path / "a.html", [Exhibit(mesh, bad, {"prompt": bad, "seed": 3}), mesh], title="<b>&")
    content = file.read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;&amp;</title>" in content
    assert content.count("<script") == content.count("</script>") == 2
    assert not re.search(r"https?://|//cdn|@import|fetch\(|XMLHttpRequest|import\(", content)
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', content, re.S)[1])
    assert [one["name"] for one in data] == [bad, "shape"]
    assert data[0]["facts"] == "seed 3"
    assert re.fullmatch(r"[a-z0-9-]+", data[0]["file"])
    _, faces, tree = gltf.read(base64.b64decode(data[0]["glb"]))
    assert len(faces) == len(mesh.faces)
    assert tree["asset"]["extras"]["seed"] == 3
    assert base64.b64decode(data[1]["picture"].split(",")[1])[:4] == b"\x89PNG"


def test_a_frame_for_notebooks(mesh, monkeypatch, tmp_path, capsys):
    text = frame([mesh], height=333)
    assert text.startswith("<iframe srcdoc=")
    assert 'height="333"' in text
    assert text.count('"') == 12  # nothing within breaks out of the attribute
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    monkeypatch.setattr(viewer, "_in_notebook", lambda: False)
    viewer.show([mesh])
    assert opened == [(tmp_path / "shapes.html").as_uri()]
    shown = []
    display = types.SimpleNamespace(HTML=lambda text: text, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(viewer, "_in_notebook", lambda: True)
    viewer.show([mesh], height=222)
    assert 'height="222"' in shown[0]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_reads_our_files_and_looks_as_our_camera(mesh, tmp_path):
    """Its meshes, edges and projection against ours."""
    from fewstep.three_d.mesh.glb import glb
    from fewstep.three_d.render.raster import _project

    (tmp_path / "viewer.js").write_text(SCRIPT)
    (tmp_path / "a.glb").write_bytes(glb(mesh))
    program = """
    const v = require("./viewer.js"), file = require("fs").readFileSync("a.glb");
    const m = v.parse(file.buffer.slice(file.byteOffset, file.byteOffset + file.length));
    const camera = {azimuth: 0.7, elevation: 0.4, distance: 3, fov: Math.PI / 6, target: [0, 0, 0]};
    console.log(JSON.stringify({position: [...m.position], index: [...m.index], edges: v.edges(m.index).length / 2,
      colour: [...m.colour.slice(0, 4)], matrix: [...v.matrix(camera, 1)], low: m.low}));
    """
    done = subprocess.run(["node", "-e", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert np.abs(np.array(got["position"]).reshape(-1, 3) - mesh.vertices).max() < 1e-6
    assert (np.array(got["index"]).reshape(-1, 3) == mesh.faces).all()
    assert got["edges"] == len(mesh.faces) * 3 // 2
    clip = np.c_[mesh.vertices, np.ones(len(mesh.vertices))] @ np.array(got["matrix"]).reshape(4, 4)
    x, y, depth = _project(mesh.vertices, Camera(np.rad2deg(0.7), np.rad2deg(0.4)), 100)
    assert np.abs(clip[:, 0] / clip[:, 3] - ((x + 0.5) / 50 - 1)).max() < 1e-4
    assert np.abs(clip[:, 1] / clip[:, 3] - (1 - (y + 0.5) / 50)).max() < 1e-4
    assert np.abs(clip[:, 3] - depth).max() < 1e-4
    assert (np.abs(clip[:, 2] / clip[:, 3]) < 1).all()
    nearer = np.argsort(depth)
    assert (np.diff((clip[:, 2] / clip[:, 3])[nearer]) > -1e-6).all()


def test_a_ball_in_a_page_of_many(tmp_path):
    shapes = [Exhibit(isosurface(ball(r=8)), f"ball {k}") for k in range(3)]
    assert save_page(tmp_path / "a.htm", shapes).read_text().count('"picture":') == 3
