"""The shapes' benchmark with tiny nets: rows as agreed, what is missing is left out and said, known answers."""

import numpy as np
import pytest
import torch

from fewstep.benchmarks import _solids as part
from fewstep.benchmarks import shapes
from fewstep.core.bench import complete
from fewstep.core.errors import UsageError
from fewstep.three_d import pretrained, text
from fewstep.three_d.corpus import make
from fewstep.three_d.corpus.attributes import complete as whole
from fewstep.three_d.lattice import Lattice
from fewstep.three_d.models.classifier import Judge, questions
from tests.three_d.conftest import tiny

__all__ = ["tiny"]


@pytest.fixture
def small(tiny, monkeypatch):
    models = pretrained.load(tiny / "flow")
    nets = (models.structure_vae, models.slat_vae)
    monkeypatch.setattr(part, "models", lambda name: models if name == shapes.TEACHER else None)
    monkeypatch.setattr(part, "autoencoders", lambda: nets)
    monkeypatch.setattr(part, "references", lambda n, lattice, first=0: References(min(n, 3), lattice, first))
    monkeypatch.setattr(shapes, "STEPS", {shapes.TEACHER: (2, 1), shapes.RIVAL: (1,), shapes.STUDENT: (1,)})
    monkeypatch.setattr(shapes, "PROMPTS", shapes.PROMPTS[:2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        monkeypatch.setattr(part, "judge", lambda: Judge().eval())
    return models


def References(n, lattice, first):
    made = [make(first + i, seed=1) for i in range(n)]
    fields = [lattice.fill(lattice.take(shape)) for shape in made]
    return part.Collection(fields, lattice.reach, [shape.caption() for shape in made])


def test_a_quick_run(small, tmp_path):
    said = []
    table = shapes.rows(quick=True, progress=said.append)
    rows = {(row["row"], row["metric"]): row for row in complete(table)}
    assert {"no shapes-mdt here: its rows are left out", "no shapes-consistency here: its rows are left out"} <= set(
        said
    )
    assert rows["held-out shapes themselves", "watertight, %"]["value"] == 100
    for label in ("shapes-flow, 2 steps", "shapes-flow, 1 step"):
        for metric in ("MMD, Chamfer x 1000", "COV, %", "1-NNA, %", "kind as told, %", "silhouette distance"):
            assert np.isfinite(rows[label, metric]["value"])
        assert rows[label, "network ms per shape, one at a time"]["value"] > 0
    assert rows["shapes-flow, 1 step", "kind as told, %"]["nfe"] == 4
    assert 0 < rows["autoencoders, 32 held-out shapes", "IoU of active cells, %"]["value"] <= 100
    shapes.plots(table, tmp_path)
    assert (tmp_path / "shapes.png").is_file()
    assert (tmp_path / "shapes-sheet.png").is_file()


def test_further_sets_have_their_own_noise_and_join_the_means(small, monkeypatch):
    monkeypatch.setattr(shapes, "FURTHER", (5, 9))
    made = []
    generated = part.generated
    monkeypatch.setattr(part, "generated", lambda *a, first, **k: made.append(first) or generated(*a, first=first, **k))
    loaded = {shapes.TEACHER: small, shapes.STUDENT: small}
    first = [
        shapes._row(f"{name}, {n}", shapes.MMD, 5.0)
        for name, n in (("shapes-flow", "8 steps"), ("shapes-mdt", "1 step"))
    ]
    found = shapes.further(loaded, first, n=3, say=lambda message: None)
    assert made == [5, 5, 5, 9, 9, 9]
    rows = {(row["row"], row["metric"]): row for row in found}
    several = [rows[f"shapes-flow, 8 steps, shapes {k} to {k + 2}", shapes.MMD]["value"] for k in (5, 9)]
    mean = rows["shapes-flow, 8 steps, mean of 3 sets", shapes.MMD]
    assert mean["value"] == pytest.approx((5.0 + sum(several)) / 3)
    one = rows["shapes-mdt, 1 step, mean of 3 sets", shapes.MMD]
    assert one["target"] == mean["value"]
    assert one["ok"] == (one["value"] < mean["value"])
    assert rows["shapes-mdt, 1 step, mean of 2 sets", shapes.COV]["ok"] is not None
    assert rows["shapes-mdt, 2 steps, mean of 2 sets", shapes.MMD]["target"] is None


@pytest.mark.parametrize(("metric", "step"), [(shapes.MMD, -1), (shapes.COV, 1)])
def test_one_step_is_better_only_if_not_level(small, monkeypatch, metric, step):
    monkeypatch.setattr(shapes, "FURTHER", ())
    loaded = {shapes.TEACHER: small, shapes.STUDENT: small}

    def better(one: float) -> bool:
        table = [shapes._row("shapes-flow, 8 steps", metric, 5.0), shapes._row("shapes-mdt, 1 step", metric, one)]
        return shapes.further(loaded, table, say=print)[-1]["ok"]

    assert [better(5.0 + k * step) for k in (-1, 0, 1)] == [False, False, True]


def test_without_any_weights_it_says_so(monkeypatch):
    for name in ("models", "judge", "autoencoders"):
        monkeypatch.setattr(part, name, lambda *given: None)
    with pytest.raises(UsageError, match="no model of shapes is here"):
        shapes.rows(quick=True)


def test_references_against_themselves(monkeypatch):
    real = References(4, Lattice(32, 4), 0)
    found = part.compared(real, real, None)
    assert found["MMD, Chamfer x 1000"] == pytest.approx(0, abs=1e-3)
    assert found["COV, %"] == 100
    assert found["1-NNA, %"] == 0  # each has its copy nearest
    assert found["silhouette distance"] == pytest.approx(0, abs=1e-6)
    assert found["in one piece as decoded, %"] == found["in one piece after clean-up, %"] == 100


class Oracle:
    """A judge that knows the shapes by their order."""

    def __init__(self, made):
        self.made = made

    def judged(self, grids):
        told = []
        for shape in self.made:
            answers = {name: values[0] for name, values in questions().items()} | {"kind": shape.kind}
            for name, value in whole(shape.kind, shape.attributes).items():
                answers[name if name in ("colour", "second") else f"{shape.kind}.{name}"] = value
            told.append(answers)
        return told, np.eye(len(told))


def test_a_judge_that_is_right_agrees_with_every_word():
    made = [make(i, seed=1) for i in range(6)]
    real = References(6, Lattice(32, 4), 0)
    found = part.judged(real, real, Oracle(made))
    assert found["kind as told, %"] == found["colours as told, %"] == found["attributes as told, %"] == 100
    assert part.judged(real, real, Oracle(made[::-1]))["kind as told, %"] < 100


def test_empty_fields_are_counted_and_do_no_harm():
    real = References(2, Lattice(32, 4), 0)
    blank = part.Field(np.ones((32, 32, 32), np.float32), np.zeros((32, 32, 32, 3), np.float32))
    made = part.Collection([blank, real.fields[0]], real.reach, real.prompts)
    assert part.compared(made, real, None)["empty, %"] == 50


class Same:
    """An autoencoder of the second stage that keeps all."""

    def __init__(self):
        self.latents = 27 * 4

    def encode(self, sdf, colour, coords, mask):
        z = torch.cat([sdf, colour.flatten(2)], 2)
        return z, z

    def decode(self, z, coords, mask):
        return z[..., :64], z[..., 64:].unflatten(2, (64, 3))

    def restored(self, z):
        return z

    normalised = restored


class SameCells:
    """And one of the first."""

    def encode(self, occupancy):
        return occupancy - 0.5, occupancy

    def decode(self, z):
        return z


def test_a_lossless_round_trip_is_whole():
    lattice = Lattice(32, 4)
    found = part.round_trip(SameCells(), Same(), lattice, [make(0, seed=1)], lattice.take)
    assert found["IoU of active cells, %"] == 100
    assert found["IoU of the inside, both stages, %"] == 100
    assert found["mean error of the colours, levels"] == 0


def test_real_models_are_tripped_and_bad_ones_said(tmp_path, monkeypatch):
    trimesh = pytest.importorskip("trimesh")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "shapes" / "box.glb")
    (tmp_path / "shapes" / "bad.glb").write_bytes(b"no")
    monkeypatch.setattr(
        part, "autoencoders", lambda: (SameCells(), type("Net", (Same,), {"resolution": 8, "block": 4})())
    )
    said = []
    rows = shapes.autoencoders(quick=True, data=tmp_path, say=said.append)
    found = {(row["row"], row["metric"]): row["value"] for row in rows}
    assert found["autoencoders, 1 real models", "IoU of the inside, both stages, %"] == 100
    assert found["autoencoders, 1 real models", "models skipped"] == 1
    assert any("bad.glb: cannot be read" in message for message in said)


def test_the_prompts_are_understood():
    assert len(shapes.PROMPTS) == 16
    for prompt in shapes.PROMPTS:
        assert not text.encode(prompt).notes
