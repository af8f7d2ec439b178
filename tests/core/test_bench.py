import json
import types
from functools import partial

import pytest

from fewstep.core import bench
from fewstep.core.cli import main
from fewstep.core.errors import UsageError

ROW = {
    "row": "ddim",
    "metric": "order",
    "value": 1.02,
    "peer": "closed form",
    "peer_value": 1.0,
    "target": ">= 0.95",
    "ok": True,
    "steps": 8,
    "nfe": 8,
    "dtype": "float64",
    "seed": 0,
}


@pytest.fixture
def benchmark(monkeypatch):
    """A benchmark `fake` whose rows the test sets."""
    module = types.SimpleNamespace(given=[ROW], seen={})

    def rows(*, quick, data, progress):
        module.seen.update(quick=quick, data=data)
        progress("half way")
        return module.given

    module.rows = rows
    real = bench.importlib.import_module
    monkeypatch.setattr(bench, "available", lambda: {"fake": "A fake."})
    monkeypatch.setattr(
        bench.importlib,
        "import_module",
        lambda name, *more: module if name == "fewstep.benchmarks.fake" else real(name, *more),
    )
    return module


def test_writes_json_markdown_and_plot(benchmark, tmp_path, capsys):
    rows = bench.run("fake", out=tmp_path, quick=True)
    assert list(rows[0]) == list(bench.KEYS)
    assert json.loads((tmp_path / "fake.json").read_text()) == rows
    assert "| ddim | order | 1.02 | closed form | 1 | >= 0.95 | yes |" in (tmp_path / "fake.md").read_text()
    assert (tmp_path / "fake.png").read_bytes().startswith(b"\x89PNG")
    assert benchmark.seen == {"quick": True, "data": None}
    assert "half way" in capsys.readouterr().err


def test_json_file_elsewhere_and_data(benchmark, tmp_path):
    bench.run("fake", out=tmp_path, data=tmp_path, json_file=tmp_path / "deep" / "rows.json")
    assert (tmp_path / "deep" / "rows.json").is_file()
    assert not (tmp_path / "fake.json").exists()
    assert benchmark.seen == {"quick": False, "data": tmp_path}


def test_own_plots_and_fewer_options(benchmark, tmp_path):
    benchmark.rows = lambda quick: [ROW]
    benchmark.plots = lambda rows, out: (out / "mine.png").write_bytes(b"x")
    bench.run("fake", out=tmp_path)
    assert (tmp_path / "mine.png").exists()
    assert not (tmp_path / "fake.png").exists()


def test_exit_code_says_whether_targets_are_met(benchmark, in_folder, capsys):
    assert main(["bench", "fake", "--quick"]) == 0
    assert "| ddim |" in capsys.readouterr().out
    benchmark.given = [ROW, ROW | {"ok": False}]
    assert main(["bench", "fake"]) == 1
    assert "**no**" in capsys.readouterr().out
    benchmark.given = [ROW | {"ok": None, "target": None}]
    assert main(["bench", "fake"]) == 0


def test_list(benchmark, capsys):
    assert main(["bench"]) == 0
    assert capsys.readouterr().out == "fake\tA fake.\n"


def test_real_benchmarks_have_a_summary():
    for name, summary in bench.available().items():
        assert summary, f"benchmarks/{name}.py opens with a docstring"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"row 'ddim': missing keys \[\], unknown keys \['extra'\]"),
        ({"value": float("nan")}, "value is a finite number or None, got nan"),
        ({"peer_value": "1"}, "peer_value is a finite number or None, got '1'"),
        ({"ok": "yes"}, "ok is True, False or None, got 'yes'"),
    ],
)
def test_rows_are_checked(change, message):
    with pytest.raises(UsageError, match=message):
        bench.complete([ROW | change])


def test_missing_keys_and_no_rows():
    with pytest.raises(UsageError, match=r"missing keys \['metric'\]"):
        bench.complete([{key: value for key, value in ROW.items() if key != "metric"}])
    with pytest.raises(UsageError, match="at least one row"):
        bench.complete([])


def test_unknown_name_and_data(benchmark, tmp_path):
    with pytest.raises(UsageError, match="no benchmark 'fakee', did you mean 'fake'"):
        bench.run("fakee", out=tmp_path)
    with pytest.raises(UsageError, match="the data folder .* does not exist"):
        bench.run("fake", out=tmp_path, data=tmp_path / "none")


def test_commit_falls_back_to_the_version(monkeypatch):
    def no_git(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(bench.subprocess, "run", no_git)
    assert bench.commit() == bench.metadata.version("fewstep")


def test_a_stopped_run_goes_on_where_it_was(benchmark, tmp_path, capsys):
    made = []

    def rows(*, quick, part):
        def measure(name):
            made.append(name)
            if name == "two" and made.count("two") == 1:
                raise KeyboardInterrupt
            return [ROW | {"row": name, "value": float(len(made))}]

        return [row for name in ("one", "two", "three") for row in part(name, partial(measure, name))]

    benchmark.rows = rows
    with pytest.raises(KeyboardInterrupt):
        bench.run("fake", out=tmp_path)
    assert not (tmp_path / "fake.json").exists()
    assert len(json.loads((tmp_path / "fake.parts.json").read_text())["parts"]["one"]) == 1
    found = bench.run("fake", out=tmp_path, resume=True)
    assert made == ["one", "two", "two", "three"]
    assert [(row["row"], row["value"]) for row in found] == [("one", 1.0), ("two", 3.0), ("three", 4.0)]
    assert "one: kept from a run before" in capsys.readouterr().err
    assert not (tmp_path / "fake.parts.json").exists()


@pytest.mark.parametrize("again", [{"resume": False}, {"resume": True, "quick": True}])
def test_parts_of_another_run_are_made_again(benchmark, tmp_path, again):
    made = []

    def rows(*, quick, part):
        found = part("one", lambda: made.append(1) or [ROW])
        if len(made) == 1:
            raise KeyboardInterrupt
        return found

    benchmark.rows = rows
    with pytest.raises(KeyboardInterrupt):
        bench.run("fake", out=tmp_path)
    bench.run("fake", out=tmp_path, **again)
    assert len(made) == 2


def test_a_damaged_file_of_parts_is_named(tmp_path):
    (tmp_path / "fake.parts.json").write_text("{")
    with pytest.raises(UsageError, match="fake.parts.json is damaged: remove it"):
        bench.Parts(tmp_path / "fake.parts.json", {}, resume=True)
    assert bench.Parts(tmp_path / "fake.parts.json", {}, resume=False).known == {}
