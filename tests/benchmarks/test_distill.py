"""The benchmark of the recipes runs as a whole, on a few points, and its rows are those of the harness."""

import pytest
import torch

from fewstep.benchmarks import _laws, _students, distill, distill_photos, distill_voice
from fewstep.core import bench
from fewstep.core.config import check, compose_config
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained


def test_rows_are_complete_and_the_teacher_is_near_the_truth(monkeypatch):
    monkeypatch.setattr(distill, "EVALUATED", 128)
    monkeypatch.setattr(distill, "ITERATIONS", 60)
    monkeypatch.setattr(distill, "BATCH", 16)
    monkeypatch.setattr(distill, "PAIRS", 64)
    rows = bench.complete(distill.rows(quick=True))
    assert {row["row"] for row in rows} > set(distill.entries())
    assert all(row["target"] is None for row in rows)
    error = {row["row"]: row["value"] for row in rows if row["metric"] == "pair RMSE"}
    assert error["teacher, 16 steps"] < error["teacher, 4 steps"] < 0.5 < error["teacher, 1 steps"]


def test_students_from_other_processes_are_those_from_this_one(monkeypatch):
    monkeypatch.setattr(distill, "PAIRS", 64)
    start = distill.Velocity()
    for name in ("consistency trajectory", "refiner after 1 call, 4 steps", "denoising GAN, 4 steps"):
        job = (start, name, 3, 0)
        net = distill._filled(job, distill._work(job)[0])
        plain = distill.train(start, distill.entries(3)[name], 3, 0)
        for key, value in plain.state_dict().items():
            torch.testing.assert_close(net.state_dict()[key], value, rtol=0, atol=0, msg=key)


@pytest.mark.parametrize("name", distill_photos.students())
def test_the_photographs_students_can_be_asked_for(name, tmp_path):
    """Their jobs have no mistakes, but for a teacher that may not ship yet."""
    for job in distill_photos.jobs(distill_photos.students()[name], tmp_path, quick=True):
        assert check(compose_config("fit", ["name=x", "threads=1", "logger=none", *job])) == []


@pytest.mark.parametrize("method", distill_voice.METHODS)
def test_the_voices_students_can_be_asked_for(method, tmp_path):
    job = distill_voice._job(distill_voice.METHODS[method], tmp_path, 2)
    assert check(compose_config("fit", ["name=x", "threads=1", "logger=none", *job])) == []


def test_benchmarks_of_real_data_want_them():
    for module in (distill_photos, distill_voice):
        with pytest.raises(UsageError, match="give --data"):
            module.rows()


def test_a_student_is_trained_once_and_each_round_teaches_the_next(in_folder):
    sizes = ["data.n=64", "data.batch_size=32", "trainer.max_steps=2", "trainer.check_val_every_n_epoch=100"]
    toy = ["experiment=core/toy", *sizes]
    assert _students.trained("toy", [toy])[1]["iterations"] == 2
    halves = [
        ["experiment=distill/progressive", "teacher=runs/toy/export", f"module.method.steps={n}", *sizes]
        for n in (4, 2)
    ]
    export, cost = _students.trained("half", halves)
    assert cost["iterations"] == 4
    assert Pretrained.load(export).steps == 2
    assert Pretrained.load("runs/half-1/export").steps == 4
    before = (export / "model.safetensors").stat().st_mtime_ns
    assert _students.trained("half", halves) == (export, cost)
    assert (export / "model.safetensors").stat().st_mtime_ns == before


def test_distances_of_laws_are_small_for_equal_laws_only():
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(300, 3, 16, 16, generator=generator) * 0.3  # noqa: E731
    for distance in (_laws.sliced_wasserstein, _laws.frechet):
        assert distance(draw(), draw()) < 0.5 * distance(draw(), 2 * draw())


def test_the_best_student_in_two_steps_is_held_against_the_teacher_in_eight():
    values = {"teacher, 8 steps": 2.0, "a, 2 steps": 3.0, "b, 2 steps": 1.0, "b, 4 steps": 0.5}
    table = [distill_photos._row(name, metric, v, 2) for metric in distill_photos.METRICS for name, v in values.items()]
    verdicts = distill_photos.verdict(table)
    assert [row["row"] for row in verdicts] == ["b, 2 steps"] * 2
    assert all(row["ok"] and row["value"] == 1.0 and row["target"] == 2.0 for row in verdicts)
