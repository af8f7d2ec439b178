"""The judge of shapes: its questions, what it reads, and that the one that ships knows the corpus."""

import numpy as np
import pytest
import torch

from fewstep.core import checkpoint, hub
from fewstep.core.errors import UsageError
from fewstep.three_d.corpus import make
from fewstep.three_d.corpus.attributes import ATTRIBUTES, said
from fewstep.three_d.data.judged import ABSENT, Grids, JudgedShapes, right, shape_grid
from fewstep.three_d.lattice import Lattice
from fewstep.three_d.lit.classifier import JudgeModule
from fewstep.three_d.models.classifier import KIND, SIDE, Judge, agreement, centres, grid_of, questions
from fewstep.three_d.text import encode


@pytest.fixture(scope="module")
def shipped():
    return checkpoint.load(hub.resolve("shapes-judge", kind=KIND), kind=KIND)[0]


def test_every_attribute_of_every_kind_is_asked():
    asked = questions()
    assert list(asked)[:3] == ["kind", "colour", "second"]
    assert len(asked) == 3 + sum(len(names) for names in ATTRIBUTES.values())
    assert asked["kind"] == tuple(ATTRIBUTES)


def test_right_answers_are_those_of_the_shape():
    shape, asked = make(3, seed=1), list(questions().items())
    for number, (name, values) in zip(right(shape), asked, strict=True):
        if "." in name and not name.startswith(shape.kind + "."):
            assert number == ABSENT
        elif name == "kind":
            assert values[number] == shape.kind
        else:
            assert values[number] == shape.attributes.get(name.split(".")[-1], values[0])


def test_a_grid_of_a_field_is_nearly_that_of_the_solid():
    shape, lattice = make(5, seed=1), Lattice(60, 5)
    field = lattice.fill(lattice.take(shape))
    there, direct = grid_of(field.sdf * lattice.reach, field.colour), shape_grid(shape)
    assert there.shape == direct.shape == (4, SIDE, SIDE, SIDE)
    assert there.dtype == direct.dtype == np.float32
    assert np.abs(there[0] - direct[0]).mean() < 0.01
    assert np.abs(there[1:] - direct[1:]).mean() < 0.02


def test_a_grid_reads_the_right_places():
    points = centres().reshape(SIDE, SIDE, SIDE, 3)
    grid = grid_of(points[..., 0] + 0.1, points + 0.5)
    inside = grid[0, :, 0, 0] > 0.5
    assert inside.sum() == np.sum(points[:, 0, 0, 0] < -0.1)
    surface = np.abs(points[:, 0, 0, 0] + 0.1) < 1 / SIDE
    np.testing.assert_array_equal(grid[3, :, 4, 7] != 0, surface)
    np.testing.assert_allclose(grid[3, surface, 4, 7], points[0, 0, 7, 2] + 0.5, atol=1e-5)


def test_fields_that_do_not_fit_are_named():
    with pytest.raises(UsageError, match="expected a field"):
        grid_of(np.zeros((4, 4, 5)), np.zeros((4, 4, 5, 3)))
    with pytest.raises(UsageError, match="expected a field"):
        grid_of(np.zeros((4, 4, 4)), np.zeros((4, 4, 4)))


def test_agreement_looks_at_what_was_asked_only():
    told = {"kind": "chair", "colour": "red", "second": "blue", "chair.legs": "four", "table.legs": "one"}
    kind, asked = said(encode("a red chair with four white legs").words)
    assert agreement(told, kind, asked) == {"kind": True, "colour": True, "legs": True, "second": False}


def test_batches_are_a_function_of_their_number_and_epochs_have_new_ones():
    grids = Grids(2, 3, 0, 0.006)
    first, again, later = grids[0, 1], grids[0, 1], grids[1, 1]
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["grid"], later["grid"])
    assert not torch.equal(first["answers"], later["answers"])
    with pytest.raises(IndexError):
        grids[2]


def test_bad_numbers_of_the_data():
    with pytest.raises(UsageError, match="expected positive numbers"):
        JudgedShapes(shapes=0)


def test_a_step_of_training_lowers_the_loss_and_the_result_can_be_loaded(tmp_path):
    import lightning.pytorch as pl

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = JudgeModule(Judge(channels=(8, 8, 8, 8), features=16), optimizer=lambda p: torch.optim.Adam(p, 1e-2))
    data = JudgedShapes(shapes=8, held_out=8, batch_size=4)
    trainer = pl.Trainer(
        max_steps=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, data)
    assert 0 <= float(trainer.callback_metrics["val/kind"]) <= 1
    assert float(trainer.callback_metrics["train/loss"]) < 1.7
    with pytest.raises(UsageError, match="pass recipe="):
        module.export(tmp_path / "out")
    recipe = {"_target_": "fewstep.three_d.models.classifier.Judge", "channels": [8, 8, 8, 8], "features": 16}
    module.export(tmp_path / "out", recipe={"module": {"net": recipe}})
    net = checkpoint.load(tmp_path / "out", kind=KIND)[0]
    assert len(net.judged(data.held[0]["grid"])[0]) == 4


def test_the_judge_that_ships_knows_shapes_that_it_never_saw(shipped):
    made = [make(i, seed=1) for i in range(40)]
    told, features = shipped.judged(torch.from_numpy(np.stack([shape_grid(shape) for shape in made])), batch_size=16)
    assert features.shape == (40, 128)
    assert np.mean([t["kind"] == s.kind for t, s in zip(told, made, strict=True)]) > 0.95
    assert np.mean([t["colour"] == s.attributes["colour"] for t, s in zip(told, made, strict=True)]) > 0.9
