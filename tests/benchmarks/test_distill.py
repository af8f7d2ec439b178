"""The benchmark of the recipes runs as a whole, on a few points, and its rows are those of the harness."""

from fewstep.benchmarks import distill
from fewstep.core import bench


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
