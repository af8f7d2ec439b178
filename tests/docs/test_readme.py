"""The README is true: its commands and its code run, in its order, in one folder.

Training (`fewstep fit`, hours) is checked instead of run, and a benchmark must exist.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fewstep.core import bench
from fewstep.core.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
ELSEWHERE = {"git", "cd", "pip", "uv", "export", "source", ".venv/bin/pip"}


def _lines(block):
    joined = block.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def _pieces():
    for kind, block in BLOCKS:
        if kind == "python":
            yield kind, block
        else:
            yield from ((kind, line) for line in _lines(block))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def _make(words):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {word for word in words if "=" not in word and not word.startswith("-")}
    assert named <= targets, f"make has no target {sorted(named - targets)}"


def _in_shell(line):
    """Pipes and redirections need a shell, with this environment's `fewstep` first."""
    where = str(Path(sys.executable).parent)
    run = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; export PATH={shlex.quote(where)}:$PATH; {line}"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def _command(line):
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        _make(words[1:])
    elif words[0] != "fewstep" and "fewstep" not in words:
        assert words[0] in ELSEWHERE, f"{words[0]}: not a command that a reader has"
    elif set(line) & set("|<>;&$"):
        _in_shell(line)
    elif words[1] == "fit":
        assert main(["check", *words[2:]]) == 0
    elif words[1] == "bench" and len(words) > 2:
        assert words[2] in bench.available()
    else:
        assert main(words[1:]) == 0


@pytest.mark.parametrize(("kind", "piece"), list(_pieces()))
def test_block(kind, piece, folder, monkeypatch):
    monkeypatch.chdir(folder)
    if kind == "python":
        exec(compile(piece, "README.md", "exec"), {"__name__": "readme"})
    else:
        _command(piece)


def test_every_command_is_told():
    from fewstep.core import cli

    for name in cli._rooms():
        assert f"fewstep {name}" in README, f"the README does not show `fewstep {name}`"


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
