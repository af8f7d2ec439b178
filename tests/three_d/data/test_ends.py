import pytest
import torch

from fewstep.core import guide, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained
from fewstep.core.sample import sample
from fewstep.three_d.data.ends import HELD, Trajectories, TrajectoryEnds
from fewstep.three_d.data.shapes import Shapes

STEPS, SHIFT, W, INTERVAL = 5, 2.0, 3.0, (0.7, 1.0)


def _data(tiny, root, stage, **options):
    shapes = Shapes(
        stage=stage, vae=str(tiny / "vae"), cache=str(root / "shapes"), shapes=8, held_out=4, views=1, samples=18,
        block=3, batch_size=4, nothing=0.0, workers=1,
    )  # fmt: skip
    _small_pictures(shapes)
    settings = {
        "batches": 3,
        "steps": STEPS,
        "shift": SHIFT,
        "guidance_scale": W,
        "interval": INTERVAL,
        "at": (0.8,),
        "shares": (1, 1),
    }
    return TrajectoryEnds(teacher=str(tiny / stage), data=shapes, cache=str(root / "ends"), **(settings | options))


def _small_pictures(shapes):
    """The tiny nets look at 32 pixels."""
    from dataclasses import replace

    shapes.plans = tuple(replace(plan, picture=32) for plan in shapes.plans)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ends")


@pytest.mark.parametrize("stage", ["structure", "slat"])
def test_states_and_ends_are_those_of_the_guided_teacher(tiny, root, stage):
    data = _data(tiny, root, stage)
    data.prepare_data()
    model = Pretrained.load(tiny / stage)
    grid = times.shift(times.uniform(model.path, STEPS), SHIFT)
    at = min(grid[1:-1].tolist(), key=lambda t: abs(t - 0.8))
    first = Trajectories([data._file(0)], (1, 0), 0)[0]
    later = Trajectories([data._file(0)], (0, 1), 0)[0]
    assert first["t"].tolist() == [1.0] * 4
    assert later["t"].tolist() == pytest.approx([at] * 4)
    blank = first["cond"] | {key: torch.zeros_like(first["cond"][key]) for key in ("words", "image")}
    denoise = guide.cfg(model.denoise(cond=first["cond"]), model.denoise(cond=blank), W, interval=INTERVAL)
    with torch.no_grad():
        end = sample(denoise, model.path, times=grid, solver=solvers.ddim(), x=first["eps"]).x
        cut = [i for i, t in enumerate(grid.tolist()) if t >= at - 1e-6]
        way = sample(denoise, model.path, times=grid[cut], solver=solvers.ddim(), x=first["eps"]).x
    there = first.get("mask", torch.ones(1))
    torch.testing.assert_close(first["x0"], end * there, rtol=0, atol=0.02)  # half precision, a step a batch
    torch.testing.assert_close(later["eps"], way * there, rtol=0, atol=0.02)
    assert 0.7 < float((first["eps"] * there).square().sum() / there.expand_as(end).sum()) < 1.3


def test_what_is_there_is_not_followed_again(tiny, root, monkeypatch):
    data = _data(tiny, root, "structure")
    data.prepare_data()
    files = sorted(data._file(0).parent.iterdir())
    assert len(files) == 3 + HELD
    kept = {file: file.stat().st_mtime_ns for file in files}
    data._file(1).unlink()
    before = data._file(2).stat().st_mtime_ns
    data.prepare_data()
    assert data._file(1).is_file()
    assert data._file(2).stat().st_mtime_ns == before == kept[data._file(2)]
    monkeypatch.setattr(TrajectoryEnds, "_followed", None)
    data.prepare_data()
    assert _data(tiny, root, "structure", steps=STEPS + 1)._file(0) != data._file(0)


def test_each_epoch_draws_other_states_and_resuming_the_same(tiny, root):
    data = _data(tiny, root, "structure")
    data.prepare_data()
    batches = data.train_dataloader().dataset
    drawn = [batches[(epoch, 1)]["t"].tolist() for epoch in range(8)]
    assert len({tuple(t) for t in drawn}) > 2
    assert batches[(3, 1)]["t"].tolist() == drawn[3]
    share = sum(t == 1.0 for some in drawn for t in some) / 32
    assert 0.25 < share < 0.75
    assert all(t == 1.0 for batch in data.val_dataloader() for t in batch["t"].tolist())
    assert len(list(data.train_dataloader())) == 3
    with pytest.raises(IndexError):
        batches[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": 0}, "positive numbers"),
        ({"interval": (1.0, 0.5)}, "an interval of times"),
        ({"interval": (0.5,)}, "an interval of times"),
        ({"shares": (1,)}, "one share for time 1"),
        ({"shares": (0, 0)}, "one share for time 1"),
        ({"steps": 2, "at": (0.9, 0.7), "shares": (1, 1, 1)}, "give more steps"),
        ({"steps": 1}, "give more steps"),
    ],
)
def test_bad_options_are_said(tiny, root, options, message):
    with pytest.raises(UsageError, match=message):
        _data(tiny, root, "structure", **options).prepare_data()


@pytest.mark.parametrize("stage", ["structure", "slat"])
def test_data_come_between_trajectories(tiny, root, stage):
    kinds = _data(tiny, root, stage)
    data = _data(tiny, root, stage, beside=_data(tiny, root, stage).data)
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 6
    assert sum("eps" in batch for batch in batches) == 3
    assert all(set(batch) <= {"x0", "cond", "mask", "eps", "t"} for batch in batches)
    mixed = data.train_dataloader().dataset
    real = data.beside.trained
    torch.testing.assert_close(mixed[(1, 3)]["x0"], real[divmod(3 + 1, len(real))]["x0"])
    torch.testing.assert_close(mixed[(1, 2)]["x0"], Trajectories([data._file(1)], (1, 1), 0)[(1, 0)]["x0"])
    assert [b["t"].tolist() for b in data.val_dataloader()] == [[1.0] * 4] * HELD
    assert data._file(0) == kinds._file(0)
    with pytest.raises(IndexError):
        mixed[6]
    kinds.data.alike = 2
    with pytest.raises(UsageError, match="belong in `beside`"):
        TrajectoryEnds(teacher="any", data=kinds.data)
    other = "slat" if stage == "structure" else "structure"
    with pytest.raises(UsageError, match=f"data of the stage {stage} beside, got {other}"):
        _data(tiny, root, stage, beside=_data(tiny, root, other).data)
