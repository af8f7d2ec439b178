"""What is in the wheel, and that it works without the source tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the tracked files."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    run = subprocess.run(build, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_everything_is_inside_the_namespace(names):
    assert {name.split("/")[0] for name in names} == {
        "fewstep",
        next(n for n in names if "METADATA" in n).split("/")[0],
    }
    assert "fewstep/__init__.py" not in names
    assert not [name for name in names if name.startswith("fewstep/tests")]


def test_every_module_and_data_file_is_there(names):
    suffixes = {".py", ".yaml", ".safetensors", ".md", ".xz", ".txt"}
    expected = {
        f"fewstep/{file.relative_to(ROOT).as_posix()}"
        for room in ("core", "audio", "mri", "restoration", "three_d", "configs", "weights", "benchmarks")
        for file in (ROOT / room).rglob("*")
        if file.suffix in suffixes and not {"__pycache__", "build"} & set(file.parts)
    }
    assert sorted(expected - set(names)) == []


def test_licences_are_there(names):
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if name.endswith("licenses/NOTICE")]


def test_configs_compose_from_the_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import fewstep.core.config as config, sys; assert config.__file__.startswith(sys.path[0]), config.__file__\n"
        "print(config.compose_config('fit', ['experiment=core/toy', 'path=ou']).module.path)"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert "fewstep.core.paths.ou" in run.stdout
