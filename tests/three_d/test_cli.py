"""`fewstep shape` and the demonstration: files, names, reports, errors before any work, exit codes."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fewstep.core.cli import main
from fewstep.three_d import cli, plan
from fewstep.three_d.demonstration import demonstrate

CHAIR, MUG = "a tall red chair", "a blue mug"


def run(*argv):
    """As a user: mistakes are one line on stderr."""
    return main(["shape", *map(str, argv)])


def listed(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def cut(file):
    image = np.zeros((30, 30, 4), np.uint8)
    image[8:20, 10:20] = 200, 100, 50, 255
    Image.fromarray(image).save(file)
    return file


def test_a_prompt_becomes_a_file(stub, tmp_path, capsys):
    assert run(CHAIR, "-o", tmp_path / "chair.glb") == 0
    out = capsys.readouterr().out
    assert (tmp_path / "chair.glb").read_bytes()[:4] == b"glTF"
    pattern = r"chair\.glb: seed 0, 4 network calls, [\d.]+ s \(structure 0\.20, slat 0\.10, decode 0\.00, mesh .*\)"
    assert re.search(pattern + r", \d+ faces, watertight, 0\.\d+ x 0\.\d+ x 0\.\d+ m", out)
    assert stub.loaded == [("shapes-mdt", "cpu")]


def test_every_option_reaches_its_place(stub, tmp_path, capsys):
    code = run(
        CHAIR, "-o", tmp_path / "a.obj", "--steps", 4, "--guidance-scale", 3, "--seed", 7, "--model", "shapes-flow",
        "--temperature", 0.5,
        "--size", 0.25, "--format", "glb,stl", "--png", tmp_path / "a.png", "--html", tmp_path / "a.html",
        "--gaussians", tmp_path / "g.ply", "--smooth", 2, "--share", 0, "--bridge", 0.05, "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0
    (told,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert listed(tmp_path) == ["a.glb", "a.html", "a.obj", "a.png", "a.stl", "g.ply"]
    assert (told["prompt"], told["status"], told["seed"], told["steps"], told["nfe"]) == (CHAIR, "done", 7, 4, 8)
    assert (told["guidance_scale"], told["model"], told["cells"]) == (3, "shapes-flow", 50)
    assert told["temperature"] == 0.5
    assert max(told["mesh"]["extents"]) == pytest.approx(0.25)
    assert told["mesh"]["watertight"]
    assert {"structure", "slat", "decode", "mesh", "files"} == set(told["seconds"])
    assert {"tall", "red", "chair"} == set(told["words"])
    options = stub.calls[0][2]
    assert (options.steps, options.guidance_scale, options.temperature) == (4, 3, 0.5)
    content = (tmp_path / "a.glb").read_bytes()
    assert b'"prompt":"a tall red chair","seed":7' in content


def test_equal_calls_give_equal_files(stub, tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / name
        more = ["--gaussians", folder / "g.ply", "--html", folder / "p.html", "--turntable", folder / "t.gif"]
        assert run(CHAIR, "-o", folder / "x.glb", "--format", "obj,ply,stl", *more) == 0
    for file in listed(tmp_path / "a"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_several_shapes_go_into_a_folder(stub, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(CHAIR, "A tall, RED chair!", MUG, "-o", out, "--num", 2, "--seed", 4, "--html", out / "all.html") == 0
    assert listed(out) == [
        "a-blue-mug-seed4.glb", "a-blue-mug-seed5.glb", "a-tall-red-chair-seed4-2.glb", "a-tall-red-chair-seed4.glb",
        "a-tall-red-chair-seed5-2.glb", "a-tall-red-chair-seed5.glb", "all.html",
    ]  # fmt: skip
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert (out / "all.html").read_text().count('"picture":') == 6


def test_several_shapes_get_numbers(stub, tmp_path):
    more = ["--turntable", tmp_path / "t.x.gif", "--gaussians", tmp_path / "g.ply", "--png", tmp_path / "all.png"]
    assert run(CHAIR, MUG, "-o", tmp_path / "a.b.glb", *more) == 0
    assert listed(tmp_path) == ["a.b-1.glb", "a.b-2.glb", "all.png", "g-1.ply", "g-2.ply", "t.x-1.gif", "t.x-2.gif"]


def test_prompts_of_a_file(stub, tmp_path, capsys):
    (tmp_path / "wishes.txt").write_text(f"\ufeff{CHAIR}\n\na dragon\n{MUG}\n", encoding="utf-8")
    assert run("--prompts", tmp_path / "wishes.txt", "-o", tmp_path / "out", "--json") == 1
    captured = capsys.readouterr()
    told = [json.loads(line) for line in captured.out.splitlines()]
    assert [one["status"] for one in told] == ["failed", "done", "done"]
    assert "failed: a dragon: the prompt names none of the kinds" in captured.err
    assert "1 of 3 shapes failed" in captured.err
    assert listed(tmp_path / "out") == ["a-blue-mug-seed0.glb", "a-tall-red-chair-seed0.glb"]


def test_a_picture_with_and_without_words(stub, tmp_path):
    image = cut(tmp_path / "My Mug.png")
    assert run("--image", image, "-o", tmp_path / "out", "--num", 2) == 0
    assert listed(tmp_path / "out") == ["my-mug-seed0.glb", "my-mug-seed1.glb"]
    assert run(MUG, "--image", image, "-o", tmp_path / "both.glb") == 0
    assert stub.calls[0][0][0].words is None
    assert stub.calls[1][0][0].words is not None
    assert stub.calls[1][0][0].image is not None


def test_what_is_there_can_be_skipped(stub, tmp_path, capsys):
    assert run(CHAIR, "-o", tmp_path, "--skip-existing") == 0
    assert run(CHAIR, "-o", tmp_path, "--skip-existing") == 0
    assert len(stub.loaded) == 1  # nothing to do: no model is loaded
    assert "a-tall-red-chair-seed0.glb is there already" in capsys.readouterr().out
    assert run(CHAIR, "-o", tmp_path, "--skip-existing", "--num", 2, "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["status"], one["seed"]) for one in told] == [("skipped", 0), ("done", 1)]
    assert stub.calls[-1][1] == [1]


def test_one_that_fails_does_not_stop_the_others(stub, tmp_path, capsys):
    stub.broken = (1,)
    assert run(CHAIR, "-o", tmp_path, "--num", 3) == 1
    error = capsys.readouterr().err
    assert "failed: a tall red chair, seed 1: no shape after 5 seeds: try more steps, or another prompt" in error
    assert "1 of 3 shapes failed" in error
    assert listed(tmp_path) == ["a-tall-red-chair-seed0.glb", "a-tall-red-chair-seed2.glb"]


def test_the_only_one_that_fails_is_one_line(stub, tmp_path, capsys):
    stub.broken = (0,)
    assert run(CHAIR, "-o", tmp_path / "a.glb") == 2
    assert capsys.readouterr().err == ("fewstep shape: no shape after 5 seeds: try more steps, or another prompt\n")
    stub.broken, stub.memory = (), 0
    assert run(CHAIR, "-o", tmp_path / "a.glb") == 2
    assert "memory is not enough for one shape" in capsys.readouterr().err
    assert listed(tmp_path) == []


def test_notes_are_told(stub, tmp_path, capsys):
    assert run("a red shiny chair", "-o", tmp_path / "a.glb") == 0
    assert "a red shiny chair, seed 0: not in the vocabulary, ignored: shiny" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-o", "a.glb"], 'say what to make: a prompt, such as "a red chair"'),
        ([CHAIR], "the following arguments are required: -o/--output"),
        ([CHAIR, "-o", "a.usdz"], r"-o a.usdz: expected a folder, or a name that ends in .glb, .obj, .ply, .stl"),
        ([CHAIR, "-o", "a.glb", "--format", "glb,fbx"], "--format is some of glb,obj,ply,stl, got 'glb,fbx'"),
        ([CHAIR, "-o", "a.glb", "--format", ","], "--format is some of"),
        (["a dragon", "-o", "a.glb"], "'a dragon': the prompt names none of the kinds"),
        (["", "-o", "a.glb"], "the prompt is empty"),
        (["red", "chair", "-o", "a.glb"], "is it one prompt\\? then put it in quotes"),
        ([CHAIR, "-o", "a.glb", "--steps", "0"], "--steps is at least 1, got 0"),
        ([CHAIR, "-o", "a.glb", "--num", "0"], "--num is at least 1, got 0"),
        ([CHAIR, "-o", "a.glb", "--seed", "-1"], "--seed is at least 0, got -1"),
        ([CHAIR, "-o", "a.glb", "--simplify", "3"], "--simplify is at least 4, got 3"),
        ([CHAIR, "-o", "a.glb", "--bridge", "-1"], "--bridge is at least 0, got -1"),
        ([CHAIR, "-o", "a.glb", "--smooth", "-1"], "--smooth is at least 0, got -1"),
        ([CHAIR, "-o", "a.glb", "--threads", "0"], "--threads is at least 1, got 0"),
        ([CHAIR, "-o", "a.glb", "--size", "0"], "--size is a positive number of metres, got 0"),
        ([CHAIR, "-o", "a.glb", "--size", "nan"], "--size is a positive number"),
        ([CHAIR, "-o", "a.glb", "--share", "2"], "--share is from 0 to 1, got 2"),
        ([CHAIR, "-o", "a.glb", "--guidance-scale", "inf"], "--guidance-scale is a finite number"),
        ([CHAIR, "-o", "a.glb", "--temperature", "-1"], "--temperature is at least 0, got -1"),
        ([CHAIR, "-o", "a.glb", "--temperature", "nan"], "--temperature is at least 0, got nan"),
        ([CHAIR, "-o", "a.glb", "--turntable", "a.avi"], "a turntable ends in .gif, .mp4, .webp"),
        ([CHAIR, "-o", "a.glb", "--png", "a.glb"], "a picture ends in .png"),
        ([CHAIR, "-o", "a.glb", "--html", "a.txt"], "a page ends in .html"),
        ([CHAIR, "-o", "a.glb", "--gaussians", "a.splat"], "Gaussians are written as .ply"),
        ([CHAIR, "-o", "a.ply", "--gaussians", "A.PLY"], "A.PLY would be written twice"),
        ([CHAIR, "-o", "a.glb", "--png", "in.png", "--image", "in.png"], "in.png is read by this call"),
        ([CHAIR, "-o", "a.glb", "--image", "none.png"], "--image none.png: there is no such file"),
        ([CHAIR, "-o", "a.glb", "--image", "full.png"], "no transparency and no plain background"),
        ([CHAIR, "-o", "a.glb", "--prompts", "x.txt"], "give prompts or --prompts FILE, not both"),
        (["-o", "a.glb", "--prompts", "x.txt"], "x.txt"),
        (["-o", "a.glb", "--prompts", "empty.txt"], "empty.txt holds no prompt that can be made"),
        (["-o", "a.glb", "--prompts", "bad.txt"], "holds no prompt that can be made: 'a dragon'"),
        (["-o", "a.glb", "--prompts", "in.png"], "is not UTF-8 text"),
        ([CHAIR, "-o", "in.png/a.glb"], "cannot write to in.png"),
        ([CHAIR, "-o", "a.glb", "--model", "dragons"], "no model is called dragons"),
        ([CHAIR, "-o", "a.glb", "--device", "nonsense"], "device nonsense cannot be used here"),
    ],
)
def test_mistakes_are_told_before_any_work(stub, in_folder, capsys, argv, message):
    cut(in_folder / "in.png")
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(in_folder / "full.png")
    (in_folder / "empty.txt").write_text("\n \n")
    (in_folder / "bad.txt").write_text("a dragon\n")
    before = listed(in_folder)
    assert run(*argv) == 2
    assert re.search(message, capsys.readouterr().err)
    assert listed(in_folder) == before
    assert not stub.calls


def test_a_folder_that_cannot_be_written(stub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plan.os, "access", lambda *a: False)
    assert run(CHAIR, "-o", tmp_path / "a.glb") == 2
    assert "cannot write to" in capsys.readouterr().err
    assert not stub.loaded


def test_fewer_faces_need_what_is_not_there(stub, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    assert run(CHAIR, "-o", tmp_path / "a.glb", "--simplify", 100) == 2
    assert "fewer faces need fast-simplification: pip install fast-simplification" in capsys.readouterr().err
    assert not stub.loaded


def test_mp4_needs_what_is_not_there(stub, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert run(CHAIR, "-o", tmp_path / "a.glb", "--turntable", tmp_path / "a.mp4") == 2
    assert "MP4 needs OpenCV: pip install opencv-python-headless; or write a .gif" in capsys.readouterr().err
    assert not stub.loaded


def test_nets_of_random_weights_from_end_to_end(tiny, tmp_path, capsys):
    """The real pipeline, whatever such nets give: a mesh, or the word that nothing came out."""
    code = run(CHAIR, "-o", tmp_path / "a.glb", "--model", tiny / "flow", "--json", "--share", 0, "--device", "cpu")
    captured = capsys.readouterr()
    if code == 0:
        told = json.loads(captured.out)
        assert told["mesh"]["watertight"]
        assert told["nfe"] > 0
        assert (tmp_path / "a.glb").is_file()
    else:
        assert code == 2
        assert "no shape after" in captured.err


def test_help_is_light(tmp_path):
    program = "import sys; from fewstep.three_d import cli; assert cli.SUMMARY; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "False", done.stderr
    with pytest.raises(SystemExit):
        cli.shape(["--help"])


@pytest.mark.parametrize("ships", [True, False])
def test_the_demonstration(stub, tmp_path, monkeypatch, ships):
    monkeypatch.setattr("fewstep.core.hub.shipped", lambda: [("shapes-mdt", "shapes")] if ships else [])
    told = demonstrate(tmp_path)
    assert listed(tmp_path) == ["shape.gif", "shape.glb", "shapes.html", "shapes.png"]
    assert told["watertight"] == ("5 of 5" if ships else "4 of 4")
    if ships:
        assert told["network calls"] == 4
        assert 0 < told["overlap of the picture and the shape made of it"] <= 1
