"""Where files come from and where results go: nothing twice, nothing over an input, whatever the names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewstep.core.errors import UsageError
from fewstep.restoration import batch
from fewstep.restoration.batch import find, plan
from fewstep.restoration.picture import SUFFIXES


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(found):
    return [name.as_posix() for _, name in found]


def test_the_same_suffixes_as_the_reader():
    assert batch.SUFFIXES == SUFFIXES


def test_folders_and_files(tmp_path):
    touch(tmp_path, "b.PNG", "a.jpg", "notes.txt", ".hidden.png", "sub/c.webp", "odd.name")
    assert names(find([tmp_path])[0]) == ["a.jpg", "b.PNG"]
    assert names(find([tmp_path], recursive=True)[0]) == ["a.jpg", "b.PNG", "sub/c.webp"]
    assert names(find([tmp_path / "odd.name", tmp_path, tmp_path / "a.jpg"])[0]) == ["odd.name", "a.jpg", "b.PNG"]
    with pytest.raises(UsageError, match="there is no such file or folder"):
        find([tmp_path, tmp_path / "none.png"])
    with pytest.raises(UsageError, match="no picture in .*--recursive"):
        find([touch(tmp_path / "empty", "sub/a.png")])


def test_results_of_last_time_and_links_in_a_circle_are_left(tmp_path):
    touch(tmp_path, "a.png", "out/a.png", "sub/b.png")
    (tmp_path / "sub" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert names(find([tmp_path], recursive=True, leave=tmp_path / "out")[0]) == ["a.png", "sub/b.png"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "locked/b.png")
    plain = Path.iterdir

    def iterdir(self):
        if self.name == "locked":
            raise PermissionError(13, "Permission denied", str(self))
        return plain(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found, failed = find([tmp_path], recursive=True)
    assert names(found) == ["a.png"]
    assert failed == [(tmp_path / "locked", "cannot be read: Permission denied")]


def targets(tmp_path, given, **options):
    found = [(tmp_path / "in" / name, Path(name)) for name in given]
    return [job.target.relative_to(tmp_path / "out").as_posix() for job in plan(found, tmp_path / "out", **options)]


def test_targets(tmp_path):
    assert targets(tmp_path, ["a.png", "d/b.JPEG", "c.gif", "raw"]) == ["a.png", "d/b.JPEG", "c.png", "raw.png"]
    assert targets(tmp_path, ["a.png"], suffix="_x4", format="webp") == ["a_x4.webp"]
    assert targets(tmp_path, ["a.png", "a.jpg"]) == ["a.png", "a.jpg"]
    assert targets(tmp_path, ["a.png", "a.jpg", "b.png"], format="png") == ["a.png.png", "a.jpg.png", "b.png"]
    assert targets(tmp_path, ["a.gif", "a.ppm"]) == ["a.gif.png", "a.ppm.png"]
    assert targets(tmp_path, ["A.png", "a.png"]) == ["A.png.png", "a.png-2.png"]
    assert targets(tmp_path, ["x.y.png", "x.z.png"]) == ["x.y.png", "x.z.png"]


@given(
    st.lists(st.sampled_from(["a", "A", "a.png", "b"]), max_size=5),
    st.lists(st.sampled_from([".png", ".jpg", ".gif", ""])),
)
def test_targets_differ_even_without_case(stems, suffixes):
    given_names = [f"{stem}{suffix}" for stem in stems for suffix in suffixes]
    found = [(Path("in", str(i), name), Path(name)) for i, name in enumerate(given_names)]
    if found:
        for format in ("same", "png"):
            made = [str(job.target).casefold() for job in plan(found, Path("out"), format=format)]
            assert len(set(made)) == len(made)


def test_one_file_to_a_file(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    one = find([tmp_path / "a.png"])[0]
    assert plan(one, tmp_path / "c.jpg")[0].target == tmp_path / "c.jpg"
    assert plan(one, tmp_path / "c.jpg", format="tif")[0].target == tmp_path / "c.tif"
    (tmp_path / "folder.png").mkdir()
    assert plan(one, tmp_path / "folder.png")[0].target == tmp_path / "folder.png" / "a.png"


def test_inputs_are_never_written_over(tmp_path):
    touch(tmp_path, "a.png", "b.png", "m.png")
    found = find([tmp_path])[0]
    with pytest.raises(UsageError, match="a.png is an input"):
        plan(found, tmp_path)
    with pytest.raises(UsageError, match="is an input"):
        plan(found, tmp_path / "x" / "..")
    with pytest.raises(UsageError, match="m.png is an input"):
        plan(find([tmp_path / "a.png"])[0], tmp_path / "m.png", keep=[tmp_path / "m.png"])
    assert plan(found, tmp_path, suffix="_new")[0].target.name == "a_new.png"


def test_a_run_counts_what_failed(capsys):
    run = batch.Run(json_lines=False)
    assert run.one("a", lambda: {"warnings": ["odd"]}, lambda facts: f"done {facts['input']}")

    def fails(error):
        def work():
            raise error

        return work

    run.one("b", fails(OSError(28, "No space left on device")), str)
    run.one("c", fails(MemoryError()), str)
    run.one("d", fails(ValueError("d: is odd\nand more")), str)
    with pytest.raises(KeyError):
        run.one("e", fails(KeyError("ours")), str)
    assert run.end() == 1
    out, err = capsys.readouterr()
    assert out == "done a\n"
    assert err.splitlines() == [
        "a: odd", "failed: b: No space left on device", "failed: c: out of memory", "failed: d: is odd",
        "3 of 5 inputs failed",
    ]  # fmt: skip
    assert batch.Run(json_lines=True).end() == 0
