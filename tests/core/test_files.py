"""Files are there whole or not at all."""

import pytest

from fewstep.core.files import replacing


def test_a_file_appears_when_it_is_whole(tmp_path):
    file = tmp_path / "new" / "a.txt"
    with replacing(file) as temporary:
        temporary.write_text("done")
        assert not file.exists()
        assert temporary.suffix == ".txt"
    assert file.read_text() == "done"
    assert list(file.parent.iterdir()) == [file]


def test_the_old_file_stays_if_writing_fails(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError, match="broken"):
        _break(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def _break(file):
    with replacing(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError("broken")
