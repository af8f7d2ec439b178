"""`docs/solvers.md` is what the registry says today."""

from pathlib import Path

import pytest

from fewstep.core.errors import UsageError
from fewstep.core.solvers import page

FILE = Path(__file__).parents[2] / "docs" / "solvers.md"
MEASURED = 3


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_page_is_the_generated_one(tmp_path):
    page.write(tmp_path / "solvers.md")
    made, kept = ((tmp_path / "solvers.md").read_text("utf-8"), FILE.read_text("utf-8"))
    assert [line for line in made.splitlines() if "|" not in line] == [
        line for line in kept.splitlines() if "|" not in line
    ]
    tables, walks = ([text.split("## Walks")[k] for text in (made, kept)] for k in (0, 1))
    assert cells(walks[0]) == cells(walks[1])
    for new, old in zip(*map(cells, tables), strict=True):
        assert new[:MEASURED] + new[MEASURED + 1 :] == old[:MEASURED] + old[MEASURED + 1 :]
        if new[0] not in ("name", "---"):
            assert float(new[MEASURED]) == pytest.approx(float(old[MEASURED]), abs=0.011), new[0]


def test_needs_the_folder(tmp_path):
    with pytest.raises(UsageError, match="run from the root of the repository"):
        page.write(tmp_path / "absent" / "solvers.md")
