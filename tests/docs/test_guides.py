"""The code of the guides runs."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = [
    (name, block)
    for name in ("caches.md",)
    for block in re.findall(
        r"^```python\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
]


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_block(name, block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, name, "exec"), {"__name__": "guide"})
    assert "skipped" in capsys.readouterr().out
