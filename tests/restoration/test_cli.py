"""`fewstep restore`, `degrade`, `eval` and the demonstration, with tiny nets of random weights."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fewstep.core.errors import UsageError
from fewstep.restoration import cli, jobs, pretrained
from fewstep.restoration.demonstration import demonstrate
from fewstep.restoration.evaluate import pair, score
from fewstep.restoration.model import Restoration
from fewstep.restoration.picture import Picture, read, write


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    def load(name, device="cpu"):
        task, _, scale = str(name).partition("-x")
        if task not in cli.TASKS:
            raise UsageError(f"no model is called {name}")
        return Restoration.debug(task, int(scale or 1))

    monkeypatch.setattr(pretrained, "load", load)


def picture(file, rows=12, columns=16, channels=3, seed=0, bits=8):
    values = np.random.default_rng(seed).integers(0, 256, (rows // 4, columns // 4, channels))
    values = np.kron(values, np.ones((4, 4, 1), int))
    write(file, Picture((values * (257 if bits == 16 else 1)).astype(np.uint16 if bits == 16 else np.uint8)))
    return file


def run(*argv, command=cli.restore):
    return command([str(part) for part in argv])


def listed(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_folder_with_bad_files(tmp_path, capsys):
    inside, out = tmp_path / "in", tmp_path / "out"
    picture(inside / "a.png")
    picture(inside / "a.jpg")
    picture(inside / "sub" / "deep.png", bits=16)
    (inside / "cut.png").write_bytes((inside / "a.png").read_bytes()[:60])
    (inside / "empty.jpg").write_bytes(b"")
    (inside / "text.webp").write_bytes(b"no picture at all")
    frames = [Image.new("L", (8, 8), c) for c in (0, 255)]
    frames[0].save(inside / "moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.eye(9) > 0).save(inside / "one-bit.png")
    Image.new("RGB", (1, 1)).save(inside / "dot.bmp")
    (inside / "really-png.jpg").write_bytes((inside / "a.png").read_bytes())
    assert run(inside, "-o", out, "--recursive", "--json", "--scale", 2) == 1
    captured = capsys.readouterr()
    told = {one["input"].removeprefix(f"{inside}/"): one for one in map(json.loads, captured.out.splitlines())}
    failed = {name for name, one in told.items() if one["status"] == "failed"}
    assert failed == {"cut.png", "empty.jpg", "text.webp", "moving.gif"}
    assert all(f"failed: {inside / name}" in captured.err for name in failed)
    assert "4 of 10 inputs failed" in captured.err
    assert listed(out) == ["a.jpg", "a.png", "dot.bmp", "one-bit.png", "really-png.jpg", "sub/deep.png"]
    assert (told["a.png"]["nfe"], told["a.png"]["size"], told["a.png"]["task"]) == (1, [24, 32], "sr")
    assert "its content is PNG" in told["really-png.jpg"]["warnings"][0]
    assert read(out / "sub" / "deep.png").bits == 16
    assert read(out / "one-bit.png").pixels.shape == (18, 18, 1)


def test_options_reach_the_result(tmp_path, capsys):
    file = picture(tmp_path / "a.png")
    assert run(file, "-o", tmp_path / "mean.png") == 0
    assert re.search(r"a\.png: .*mean\.png, 64 x 48 pixels, 1 network call, \d", capsys.readouterr().out)
    assert run(file, "-o", tmp_path / "s0.png", "--steps", 4, "--json") == 0
    assert run(file, "-o", tmp_path / "s0t.png", "--steps", 4, "--tile", 16, "--json") == 0
    assert run(file, "-o", tmp_path / "s1.png", "--steps", 4, "--seed", 1, "--json") == 0
    assert run(file, "-o", tmp_path / "f.png", "--steps", 4, "--fidelity", 0.5, "--json") == 0
    assert [one["nfe"] for one in lines(capsys)] == [4, 4, 4, 5]
    made = {name: read(tmp_path / f"{name}.png").pixels.astype(int) for name in ("mean", "s0", "s0t", "s1", "f")}
    assert np.abs(made["s0"] - made["s0t"]).max() <= 1
    assert np.abs(made["s0"] - made["s1"]).max() > 3
    assert np.abs(made["f"] - (made["s0"] + made["mean"]) / 2).max() < 4


def test_samples_are_written_with_their_mean_and_deviation(tmp_path, capsys):
    file = picture(tmp_path / "a.png")
    assert run(file, "-o", tmp_path / "out", "--samples", 3, "--steps", 2, "--json") == 0
    (facts,) = lines(capsys)
    assert facts["nfe"] == 6
    assert facts["std_white"] == 0.125
    assert listed(tmp_path / "out") == ["a.png", *(f"a_samples/{n}.png" for n in (1, 2, 3)), "a_samples/std.png"]
    samples = [read(tmp_path / "out" / f"a_samples/{n}.png").pixels.astype(float) for n in (1, 2, 3)]
    assert np.abs(read(tmp_path / "out" / "a.png").pixels - np.mean(samples, 0)).max() <= 0.5
    std = np.sqrt(np.var(samples, 0, ddof=1).mean(2)) * 8
    assert np.abs(read(tmp_path / "out" / "a_samples/std.png").pixels[:, :, 0] - np.clip(std, 0, 255)).max() <= 1


def test_what_is_there_is_left(tmp_path, capsys):
    picture(tmp_path / "in" / "a.png")
    out = tmp_path / "out"
    assert run(tmp_path / "in", "-o", out) == 0
    before = (out / "a.png").stat().st_mtime_ns
    picture(tmp_path / "in" / "b.png")
    assert run(tmp_path / "in", "-o", out, "--skip-existing") == 0
    assert "a.png is there already" in capsys.readouterr().out
    assert (out / "a.png").stat().st_mtime_ns == before
    assert (out / "b.png").exists()


def test_metadata_bits_and_formats(tmp_path):
    exif = Image.Exif()
    exif[271] = "A Camera"
    exif[0x0112] = 6
    Image.new("RGB", (16, 12), (90, 80, 70)).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    run(tmp_path / "a.jpg", "-o", tmp_path / "kept", "--format", "png", "--bits", "16", "--suffix", "_x4")
    kept = read(tmp_path / "kept" / "a_x4.png")
    assert (kept.bits, kept.size) == (16, (64, 48))
    with Image.open(tmp_path / "kept" / "a_x4.png") as image:
        assert image.getexif()[271] == "A Camera"
    run(tmp_path / "a.jpg", "-o", tmp_path / "bare", "--strip-metadata")
    assert read(tmp_path / "bare" / "a.jpg").exif is None


def test_masks(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    mask = np.zeros((12, 16, 1), np.uint8)
    mask[3:6, 4:9] = 255
    write(tmp_path / "mask.png", Picture(mask))
    assert run(tmp_path / "in", "-o", tmp_path / "one", "--task", "inpaint", "--mask", tmp_path / "mask.png") == 0
    outside = mask[:, :, 0] == 0
    made = read(tmp_path / "one" / "a.png").pixels
    assert np.array_equal(made[outside], read(tmp_path / "in" / "a.png").pixels[outside])
    write(tmp_path / "masks" / "a.png", Picture(mask[:, 1:]))
    assert run(tmp_path / "in", "-o", tmp_path / "two", "--task", "inpaint", "--mask", tmp_path / "masks") == 1
    err = capsys.readouterr().err
    assert "the mask is 15 x 12 pixels, the picture 16 x 12" in err
    assert "no mask of the name b" in err
    write(tmp_path / "masks" / "a.png", Picture(np.full((12, 16, 1), 255, np.uint8)))
    write(tmp_path / "masks" / "b.png", Picture(np.zeros((12, 16, 1), np.uint8)))
    assert run(tmp_path / "in", "-o", tmp_path / "two", "--task", "inpaint", "--mask", tmp_path / "masks") == 1
    err = capsys.readouterr().err
    assert "white throughout" in err
    assert "black throughout" in err
    assert listed(tmp_path / "two") == ["b.png"]
    with pytest.raises(UsageError, match="mask.png is an input"):
        run(tmp_path / "in/a.png", "-o", tmp_path / "mask.png", "--task", "inpaint", "--mask", tmp_path / "mask.png")


def test_kernels(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    dot = np.zeros((3, 4, 1), np.uint8)
    dot[1, 1:3] = 255
    write(tmp_path / "kernel.png", Picture(dot))
    argv = (tmp_path / "in", "--task", "deblur", "--json", "--kernel")
    assert run(*argv, tmp_path / "kernel.png", "-o", tmp_path / "one") == 0
    told = lines(capsys)
    assert [(fact["task"], fact["model"], fact["nfe"]) for fact in told[:2]] == [("deblur", "denoise", 3)] * 2
    write(tmp_path / "kernels" / "a.png", Picture(dot))
    assert run(*argv, tmp_path / "kernels", "-o", tmp_path / "two", "--steps", "2", "--noise", "4") == 1
    out = capsys.readouterr()
    assert "no kernel of the name b" in out.err
    assert json.loads(out.out.splitlines()[0])["nfe"] == 2
    assert listed(tmp_path / "two") == ["a.png"]
    assert not np.array_equal(read(tmp_path / "one" / "a.png").pixels, read(tmp_path / "in" / "a.png").pixels)


def test_a_full_disk_leaves_no_half_file_and_the_rest_is_done(tmp_path, monkeypatch, capsys):
    from pathlib import Path

    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    plain = Path.write_bytes

    def write_bytes(self, data):
        if self.name.endswith("a.png"):
            plain(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return plain(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 1
    assert "a.png: No space left on device" in capsys.readouterr().err
    assert listed(tmp_path / "out") == ["b.png"]


def test_the_report_is_one_file(tmp_path):
    for name in ("a.png", "<b>.png"):
        picture(tmp_path / "in" / name)
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--report") == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("data:image/jpeg;base64,") == 4
    assert "&lt;b&gt;.png" in text
    assert "<b>.png" not in text
    assert "http" not in text
    assert run(tmp_path / "in" / "a.png", "-o", tmp_path / "x.png", "--report", tmp_path / "r.html") == 0
    assert (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    "argv, match",
    [
        (["--steps", "0"], "--steps is at least 1"),
        (["--fidelity", "2"], "--fidelity is from 0 to 1"),
        (["--tile", "big"], "--tile is auto, 0 or"),
        (["--bits", "16", "--format", "jpg"], "--bits 16 needs png or tif"),
        (["--task", "denoise", "--scale", "2"], "--scale is for --task sr"),
        (["--suffix", "a/b"], "--suffix is a part of a name"),
        (["--task", "inpaint"], "--task inpaint needs --mask"),
        (["--task", "inpaint", "--mask", "none.png"], "no such file or folder"),
        (["--task", "deblur", "--kernel", "none.png"], "no such file or folder"),
        (["--task", "sr", "--kernel", "."], "--kernel is for --task deblur"),
        (["--kernel", ".", "--samples", "2"], "--kernel has one answer"),
        (["--kernel", ".", "--model", "deblur"], 'load "denoise"'),
        (["--noise", "3"], "--noise is from 0 to 255, beside --kernel"),
        (["--model", "none"], "no model is called none"),
        (["--model", "denoise", "--task", "sr"], "is for --task denoise, got --task sr"),
        (["--model", "sr-x2", "--scale", "4"], "enlarges 2 times, got --scale 4"),
        (["--model", "inpaint"], "inpaint is for inpaint: give --mask"),
        (["--mask", "."], "sr-x4 is for sr: leave out --mask"),
        (["--mode", "mean", "--steps", "3"], "the mean takes one call"),
        (["--fidelity", "1", "--samples", "3"], "the mean takes one call|steps and samples"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(in_folder, argv, match):
    picture(in_folder / "a.png")
    with pytest.raises(ValueError, match=match):
        run("a.png", "-o", "out", *argv)
    assert not (in_folder / "out").exists()


def test_bits_that_a_format_lacks_are_told_first(tmp_path):
    picture(tmp_path / "a.jpg")
    with pytest.raises(UsageError, match=r"--bits 16: a\.jpg has no 16 bits"):
        run(tmp_path / "a.jpg", "-o", tmp_path / "out", "--bits", 16)


def test_degrade_repeats_and_notes_its_seeds(tmp_path, capsys):
    for name in ("a.png", "sub/b.jpg"):
        picture(tmp_path / "in" / name, 24, 24)
    for out in ("one", "two"):
        argv = (tmp_path / "in", "-o", tmp_path / out, "--recursive", "--recipe", "gauss25", "--seed", 3)
        assert run(*argv, command=cli.degrade) == 0
    assert listed(tmp_path / "one") == ["a.png", "degraded.json", "sub/b.jpg"]
    assert (tmp_path / "one" / "a.png").read_bytes() == (tmp_path / "two" / "a.png").read_bytes()
    notes = json.loads((tmp_path / "one" / "degraded.json").read_text())
    assert notes["recipe"]["name"] == "gauss25"
    assert len({one["seed"] for one in notes["pictures"].values()}) == 2
    noise = read(tmp_path / "one" / "a.png").pixels.astype(float) - read(tmp_path / "in" / "a.png").pixels
    assert 10 < noise.std() < 26
    assert run(tmp_path / "in", "-o", tmp_path / "lq", "--recipe", "bicubic4", command=cli.degrade) == 0
    assert read(tmp_path / "lq" / "a.png").size == (6, 6)
    picture(tmp_path / "tiny.png", 4, 4)
    write(tmp_path / "tiny.png", Picture(np.zeros((3, 3, 3), np.uint8)))
    assert run(tmp_path / "tiny.png", "-o", tmp_path / "lq", "--recipe", "bicubic4", command=cli.degrade) == 1
    assert "too few to shrink 4 times" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no recipe is called 'bicubic5'"):
        run(tmp_path / "in", "-o", tmp_path / "x", "--recipe", "bicubic5", command=cli.degrade)


def test_masks_of_degrade_are_taken_by_restore(tmp_path):
    picture(tmp_path / "in" / "a.png", 48, 64)
    assert run(tmp_path / "in", "-o", tmp_path / "lq", "--recipe", "inpaint", command=cli.degrade) == 0
    assert listed(tmp_path / "lq") == ["a.png", "degraded.json", "masks/a.png"]
    assert run(tmp_path / "lq", "-o", tmp_path / "out", "--task", "inpaint", "--mask", tmp_path / "lq" / "masks") == 0


def test_eval(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        values = rng.integers(0, 256, (40, 44, 3)).astype(np.uint8)
        write(tmp_path / "gt" / f"{name}.png", Picture(values))
        write(
            tmp_path / "pred" / f"{name}_x4.png",
            Picture(np.clip(values[:, :42].astype(int) + 4, 0, 255).astype(np.uint8)),
        )
    argv = (tmp_path / "pred", tmp_path / "gt", "--suffix", "_x4", "--crop", 2, "--json")
    assert run(*argv, command=cli.eval) == 0
    first, second, mean = lines(capsys)
    assert first["psnr_rgb"] == pytest.approx(36, abs=0.3)
    assert first["niqe"] is None
    assert "0 rows and 2 columns of the reference were cut off" in first["warnings"]
    assert mean["count"] == 2
    assert mean["mean"]["ssim"] == pytest.approx((first["ssim"] + second["ssim"]) / 2, abs=1e-4)
    with pytest.raises(UsageError, match=r"for: a_x4.png \(none\), b_x4.png \(none\)"):
        run(tmp_path / "pred", tmp_path / "gt", command=cli.eval)
    assert run(tmp_path / "gt/a.png", tmp_path / "gt/a.png", "--metrics", "psnr_y,gmsd", command=cli.eval) == 0
    assert "psnr_y -, gmsd 0.0000" in capsys.readouterr().out
    for argv, match in (
        (["--metrics", "vmaf"], "--metrics is some of"),
        (["--metrics", "lpips"], "lpips needs weights"),
        (["--crop", "-1"], "--crop is at least 0"),
    ):
        with pytest.raises(ValueError, match=match):
            run(tmp_path / "pred", tmp_path / "gt", *argv, command=cli.eval)
    with pytest.raises(UsageError, match="two pictures or two folders"):
        pair(tmp_path / "pred", tmp_path / "gt" / "a.png")
    with pytest.raises(UsageError, match="no such file"):
        pair(tmp_path / "none", tmp_path / "gt")
    with pytest.raises(UsageError, match="its reference 4 x 4"):
        score(np.zeros((9, 9, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), ["psnr_y"])


def test_a_pair_that_cannot_be_read_is_named(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "x" / name)
        picture(tmp_path / "y" / name)
    (tmp_path / "x" / "a.png").write_bytes(b"broken")
    assert run(tmp_path / "x", tmp_path / "y", command=cli.eval) == 1
    assert "failed:" in capsys.readouterr().err


def test_the_demonstration_without_weights(tmp_path, monkeypatch):
    from fewstep.core import hub

    monkeypatch.setattr(hub, "shipped", list)
    told = demonstrate(tmp_path)
    assert 20 < told["PSNR bicubic, dB"] < 30
    assert listed(tmp_path) == ["picture.html", "picture.png"]


def test_the_demonstration_with_a_net(tmp_path, monkeypatch):
    from fewstep.core import hub

    monkeypatch.setattr(hub, "shipped", lambda: [("sr-x4", "restoration")])
    told = demonstrate(tmp_path)
    assert told["PSNR mean, dB"] > 20
    assert read(tmp_path / "picture.png").size == (256, 1024)


def test_help_is_light():
    code = (
        "import sys; from fewstep.restoration import cli\n"
        "for command in (cli.restore, cli.degrade, cli.eval):\n"
        "    try: command(['--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'scipy', 'lightning'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(cli.SUMMARY) == {"restore", "degrade", "eval"}
    assert jobs.STD_WHITE == 0.125
