"""The generator as people call it."""

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d import Mesh, Shape, ShapeGenerator, text
from fewstep.three_d.api import Wish
from fewstep.three_d.lattice import Field
from fewstep.three_d.pipeline import Draw
from fewstep.three_d.render import viewer
from tests.three_d.solids import ball, tint
from tests.three_d.stub import PICTURE


@pytest.fixture
def generator(stub):
    return ShapeGenerator.load(device="cpu")


def test_one_shape(generator, stub):
    shape = generator("a tall RED chair, please", seed=3)
    assert isinstance(shape, Shape)
    assert isinstance(shape.mesh, Mesh)
    assert shape.mesh.watertight
    assert shape.mesh.colours is not None
    assert (shape.seed, shape.nfe, shape.steps, shape.model) == (3, 4, 2, "shapes-mdt")
    assert {"tall", "red", "chair"} <= set(shape.words)
    assert set(shape.seconds) == {"structure", "slat", "decode", "mesh"}
    (told, seeds, _), *_ = stub.calls
    assert seeds == [3]
    assert (told[0].words == text.encode("a tall red chair").ids).all()
    assert told[0].image is None


def test_several_shapes_have_seeds_that_count_up(generator):
    shapes = generator("a mug", seed=5, num=3)
    assert [shape.seed for shape in shapes] == [5, 6, 7]
    assert (shapes[1].mesh.vertices == generator("a mug", seed=6).mesh.vertices).all()


def test_smoothing_can_be_left_out(generator):
    soft, rough = (generator("a mug", **how).mesh for how in ({}, {"smooth": 0}))
    assert soft.volume == pytest.approx(rough.volume, rel=1e-3)
    assert (soft.faces == rough.faces).all()
    assert np.linalg.norm(soft.vertices - rough.vertices, axis=1).mean() > 1e-4
    assert rough.extents[0] == pytest.approx(0.8, abs=1e-3)


def test_options_reach_the_pipeline(generator, stub):
    made = generator("a mug", steps=4, guidance_scale=2.5, temperature=0.8)
    assert (made.nfe, made.temperature) == (8, 0.8)
    options = stub.calls[0][2]
    assert (options.steps, options.guidance_scale, options.temperature) == (4, 2.5, 0.8)


def test_a_picture_with_and_without_words(generator, stub):
    image = np.zeros((40, 60, 4), np.uint8)
    image[10:30, 10:50] = 200, 100, 50, 255
    generator(image=image)
    generator("a mug", image=image, num=2)
    alone, both = stub.calls[0][0][0], stub.calls[1][0]
    assert alone.words is None
    assert alone.image.shape == (PICTURE, PICTURE, 4)
    assert alone.image.dtype == np.float32
    assert both[0].words is not None
    assert both[0].image is both[1].image  # read once


def test_many_wishes_go_in_batches_and_less_memory_makes_smaller_ones(generator, stub):
    stub.memory = 5
    parts = []
    made = generator.make([Wish("a mug", seed=k) for k in range(20)], progress=parts.append)
    assert [shape.seed for shape in made] == list(range(20))
    assert [len(call[1]) for call in stub.calls] == [16, 8, 4, 4, 4, 4, 4]
    assert parts[-1] == 1
    assert parts == sorted(parts)
    assert made[0].seconds["structure"] == pytest.approx(0.2)


def test_no_memory_at_all(generator, stub):
    stub.memory = 0
    with pytest.raises(UsageError, match="memory is not enough for one shape"):
        generator("a mug")


def test_other_errors_are_not_taken_for_memory(generator, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("fewstep.three_d.pipeline.generate", fail)
    with pytest.raises(RuntimeError, match="do not fit"):
        generator("a mug")


def test_crumbs_are_dropped_and_told(generator, monkeypatch):
    r = 32
    sdf = np.minimum(ball(0.3, r), ball(0.03, r, at=(0.42, 0.42, 0.42)))
    draw = Draw(Field(sdf, tint(r)), 1, 9, 4, {"structure": 0.1}, ("seed 0 gave an empty shape, took 1",))
    monkeypatch.setattr("fewstep.three_d.pipeline.generate", lambda *a, **k: [draw])
    shape = generator("a mug")
    assert shape.report().components == 1
    assert shape.seed == 1
    assert shape.notes[-2:] == ("seed 0 gave an empty shape, took 1", "dropped 1 small part")
    assert generator("a mug", share=0).report().components == 2


def test_loose_parts_are_joined_and_told(generator, monkeypatch):
    r = 32
    sdf = np.minimum(ball(0.2, r, at=(-0.25, 0, 0)), ball(0.2, r, at=(0.25, 0, 0))).astype(np.float32)
    draw = Draw(Field(sdf, tint(r)), 0, 9, 4, {"structure": 0.1})
    monkeypatch.setattr("fewstep.three_d.pipeline.generate", lambda *a, **k: [draw])
    shape = generator("a mug", bridge=0.2)
    assert shape.report().components == 1
    assert shape.notes[-1] == "joined 1 loose part"
    assert generator("a mug", bridge=0).report().components == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "give a prompt, an image, or both"),
        ({"prompt": ""}, "give a prompt, an image, or both"),
        ({"prompt": "a dragon"}, "names none of the kinds"),
        ({"prompt": "a mug", "num": 0}, "num is at least 1, got 0"),
        ({"prompt": "a mug", "steps": 0}, "steps is at least 1, got 0"),
        ({"prompt": "a mug", "seed": -1}, "at least 0, got -1"),
        ({"prompt": "a mug", "share": 2}, "a share from 0 to 1, got 5, 0.27 and 2"),
        ({"prompt": "a mug", "smooth": -1}, "smooth >= 0, bridge >= 0 and a share from 0 to 1, got -1"),
        ({"prompt": "a mug", "bridge": -0.5}, "bridge >= 0 and a share from 0 to 1, got 5, -0.5"),
        ({"image": "nowhere.png"}, "no such picture"),
    ],
)
def test_impossible_wishes(generator, call, message):
    with pytest.raises(UsageError, match=message):
        generator(**call)


def test_impossible_places(stub):
    with pytest.raises(UsageError, match="no model is called dragons"):
        ShapeGenerator.load("dragons")
    with pytest.raises(UsageError, match="device nonsense cannot be used"):
        ShapeGenerator.load(device="nonsense")
    with pytest.raises(UsageError, match="threads is at least 1, got 0"):
        ShapeGenerator.load(threads=0)


def test_a_shape_is_saved_turned_and_shown(generator, tmp_path, monkeypatch):
    shape = generator("a <b>red</b> mug", seed=1)
    for name in ("a.glb", "a.obj", "a.ply", "a.stl"):
        assert shape.save(tmp_path / name, size=0.1).stat().st_size > 1000
    assert shape.picture(tmp_path / "a.png", size=32).shape == (32, 32, 4)
    assert shape.turntable(tmp_path / "a.gif", count=2, size=16).is_file()
    assert "<b>" not in shape.html(tmp_path / "a.html").read_text().split("</title>")[0]
    assert shape.gaussians is shape.gaussians
    assert "iframe" in shape._repr_html_()
    shown = []
    monkeypatch.setattr(viewer, "show", lambda shapes, height: shown.append((shapes, height)))
    shape.show(height=300)
    assert (shown[0][0][0].name, shown[0][1]) == ("a <b>red</b> mug", 300)
    assert shape.smoothed(2).mesh.volume == pytest.approx(shape.mesh.volume)
    assert max(shape.report(size=0.1).extents) == pytest.approx(0.1)


def test_a_cpu_takes_two_at_a_time(generator, stub):
    stub.device = "cpu"
    ShapeGenerator.load("shapes-mdt")("a mug", num=5)
    assert [len(told) for told, _, _ in stub.calls] == [2, 2, 1]
