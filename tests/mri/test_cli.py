"""`fewstep recon`: every input is done or named, nothing twice, nothing half, several workers share a folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from fewstep.mri import batch, cli, slices
from fewstep.mri.api import Reconstructor
from fewstep.mri.read import Job, Options, read_scans
from fewstep.mri.write.claims import claim

from .files import kspace, write_fastmri, write_mrd, write_series

ROOT = Path(__file__).parents[2]
PLAIN = ["--method", "cg-sense", "--no-compare"]


def run(*argv):
    return cli.recon([str(part) for part in (*argv, *PLAIN)])


def listed(out):
    return {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}


def facts(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_file(tmp_path, capsys):
    file = write_mrd(tmp_path / "scan.h5")
    assert run(file, "-o", tmp_path / "out", "--format", "dicom,nifti,png,npz") == 0
    assert "scan.h5: 2 slices in" in capsys.readouterr().out
    (folder,) = (f for f in (tmp_path / "out").iterdir() if f.name.startswith("scan-"))
    assert listed(folder) == {
        "dicom-image/0001.dcm", "dicom-image/0002.dcm", "image.nii.gz", "image.png", "image.npz", "report.html",
        "report.json",
    }  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert report["method"] == "cg-sense"
    assert len(report["residual"]["cg-sense"]) == 2
    assert not list((tmp_path / "out" / ".jobs").glob("*.claim"))


def test_what_is_done_is_not_done_again(tmp_path, capsys):
    file, out = write_fastmri(tmp_path / "scan.h5"), tmp_path / "out"
    assert run(file, "-o", out) == 0
    before = {name: (out / name).stat().st_mtime_ns for name in listed(out)}
    capsys.readouterr()
    assert run(file, "-o", out) == 0
    assert "done before" in capsys.readouterr().out
    assert {name: (out / name).stat().st_mtime_ns for name in listed(out)} == before
    assert run(file, "-o", out, "--seed", "1") == 0  # other options are another job
    assert "done before" not in capsys.readouterr().out
    assert len(list(out.glob("scan-*"))) == 2
    next(out.glob("scan-*/image.png")).unlink()
    capsys.readouterr()
    assert run(file, "-o", out) + run(file, "-o", out, "--seed", "1") == 0
    assert capsys.readouterr().out.count("done before") == 1  # a file that is missing is made again
    assert run(file, "-o", out, "--no-skip-existing") == 0
    assert "done before" not in capsys.readouterr().out


def test_a_failing_file_is_named_and_the_job_goes_on(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    write_fastmri(folder / "b.h5")
    (folder / "a.h5").write_bytes((folder / "b.h5").read_bytes()[:2000])
    np.save(folder / "c.npy", kspace(1) * np.nan)
    assert run(folder, "-o", tmp_path / "out", "--json") == 1
    captured = capsys.readouterr()
    told = [json.loads(line) for line in captured.out.splitlines()]
    assert [(one["input"], one["status"]) for one in told] == [
        ("a.h5", "failed"), ("b.h5", "done"), ("c.npy", "failed"),
    ]  # fmt: skip
    assert "truncated" in told[0]["reason"]
    assert "NaN" in told[2]["reason"]
    assert "2 of 3 inputs failed" in captured.err


def test_a_killed_worker_loses_nothing(tmp_path, monkeypatch, capsys):
    file, out = write_fastmri(tmp_path / "scan.h5"), tmp_path / "out"
    import fewstep.mri.write as write

    real = write.write_nifti

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "write_nifti", killed)
    with pytest.raises(KeyboardInterrupt):
        run(file, "-o", out)
    uids = {pydicom.dcmread(f).SOPInstanceUID for f in out.rglob("*.dcm")}
    assert uids
    left = [f.name for f in (out / ".jobs").rglob("*") if f.is_file()]
    assert left == ["00000.npz", "00001.npz"]  # finished slices, and neither a claim nor a manifest
    monkeypatch.setattr(write, "write_nifti", real)
    assert run(file, "-o", out) == 0
    assert "done before" not in capsys.readouterr().out
    assert {pydicom.dcmread(f).SOPInstanceUID for f in out.rglob("*.dcm")} == uids


def test_workers_share_a_folder(tmp_path, capsys):
    out = tmp_path / "out"
    files = [write_fastmri(tmp_path / f"{name}.h5", data=(i + 1) * kspace()) for i, name in enumerate("ab")]
    from fewstep.mri.read import find_jobs

    busy = find_jobs([files[0]])[0]
    with claim(out / ".jobs" / f"{busy.study[:32]}.claim") as mine:
        assert mine
        assert run(*files, "-o", out, "--json") == 0
    assert [(one["input"], one["status"]) for one in facts(capsys)] == [("b.h5", "done"), ("a.h5", "left")]
    assert run(*files, "-o", out, "--json") == 0
    assert [one["status"] for one in facts(capsys)] == ["done", "skipped"]


def test_contrasts_get_folders_and_series_of_their_own(tmp_path):
    from .files import Mrd

    made = Mrd(tmp_path / "scan.h5")
    made.slices(kspace(), contrast=0).slices(kspace() * 2, contrast=1).close()
    assert run(tmp_path / "scan.h5", "-o", tmp_path / "out") == 0
    folders = sorted(f.name.rsplit("-", 1)[0] for f in (tmp_path / "out").iterdir() if f.name != ".jobs")
    assert folders == ["scan-contrast-1", "scan-contrast-2"]
    objects = [pydicom.dcmread(f) for f in (tmp_path / "out").rglob("*.dcm")]
    assert len({o.SeriesInstanceUID for o in objects}) == 2
    assert len({o.SeriesNumber for o in objects}) == 2
    assert len({o.StudyInstanceUID for o in objects}) == 1
    assert sorted(float(o.EchoTime) for o in objects) == [3.5, 3.5, 7.0, 7.0]


def test_magnitude_needs_a_mode(tmp_path, capsys):
    write_series(tmp_path / "in")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 1
    assert "not raw data" in capsys.readouterr().err


def test_restore(tmp_path, capsys):
    write_series(tmp_path / "in")
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--mode", "restore", "--json") == 0
    (told,) = facts(capsys)
    assert max(told["scans"][0]["acquired_band_changed_by"]) < 0.02
    objects = sorted((pydicom.dcmread(f) for f in (tmp_path / "out").rglob("*.dcm")), key=lambda o: o.InstanceNumber)
    assert {o.StudyInstanceUID for o in objects} == {"1.2.826.1"}
    assert [o.SourceImageSequence[0].ReferencedSOPInstanceUID for o in objects] == [
        f"1.2.826.99.{i}" for i in range(1, 6)
    ]
    assert all(o.Rows == 32 for o in objects)
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--mode", "restore", "--enlarge", "2") == 0
    assert "the acquired band changed by at most" in capsys.readouterr().out


def test_qa(tmp_path, capsys):
    write_series(tmp_path / "in")
    arguments = ["--mode", "qa", "--accel", "2", "--mask", "equispaced", "--coils", "4", "--json"]
    assert run(tmp_path / "in", "-o", tmp_path / "out", *arguments) == 0
    (told,) = facts(capsys)
    metrics = told["scans"][0]["metrics"]
    assert metrics["cg-sense"]["PSNR"] > metrics["zero-filled"]["PSNR"]
    one = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert one.SeriesDescription.startswith("QA SIM")


def test_what_is_no_magnitude_is_passed_over_in_a_folder(tmp_path, capsys):
    write_series(tmp_path / "in" / "a")

    def phase(dataset, i):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND"]
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.826.78", 9

    write_series(tmp_path / "in" / "b", edit=phase)
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--mode", "restore", "--json") == 0
    assert [one["status"] for one in facts(capsys)] == ["done", "passed over"]


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--format", "dicom,tiff"], "--format is some of"),
        (["--format", ""], "--format is some of"),
        (["--steps", "0"], "--steps is at least 1"),
        (["--samples", "0"], "--samples is at least 1"),
        (["--mode", "qa"], "needs --accel above 1"),
        (["--mode", "qa", "--accel", "1"], "needs --accel above 1"),
        (["--accel", "4"], "--accel is for --mode qa"),
        (["--band", "4", "4"], "are for --mode restore"),
        (["--enlarge", "2"], "are for --mode restore"),
        (["--spacing", "0", "1", "1"], "--spacing is above 0"),
        (["--device", "abacus"], "cannot be used here"),
        (["--model", "nothing"], "uses no model"),
        (["--steps", "4"], "has no option 'steps'"),
    ],
)
def test_wrong_usage(tmp_path, argv, message):
    file = write_fastmri(tmp_path / "scan.h5")
    with pytest.raises(ValueError, match=message):
        run(file, "-o", tmp_path / "out", *argv)


def test_wrong_paths(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        run(tmp_path / "nothing.h5", "-o", tmp_path / "out")
    file = write_fastmri(tmp_path / "scan.h5")
    with pytest.raises(ValueError, match="-o wants a folder"):
        run(file, "-o", file)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom fewstep.mri import cli\n"
        "try:\n    cli.recon(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert not {'torch', 'numpy', 'pydicom', 'h5py', 'lightning'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_methods_are_those_of_the_registry():
    from fewstep.mri.methods import METHODS

    assert set(cli.METHODS) == set(METHODS)
    assert cli.FORMATS == batch.FORMATS


def test_rooms_names():
    import fewstep.mri as room

    for name in room.__all__:
        assert getattr(room, name)
    with pytest.raises(AttributeError, match="has no attribute"):
        room.nothing  # noqa: B018


def test_demo(tmp_path):
    told = cli.demo(tmp_path)
    assert told["PSNR ours, dB"] > told["PSNR zero-filled, dB"] + 2
    assert Path(told["picture"]).is_file()
    assert Path(told["report"]).is_file()
    one = pydicom.dcmread(next(Path(told["DICOM"]).iterdir()))
    assert one.PatientName == "SIMULATED^DEMO"


# batch


def test_slice_by_slice_is_the_whole(tmp_path):
    (scan,) = read_scans(write_mrd(tmp_path / "a.h5", lines=[*range(0, 20, 2), *range(7, 13)]))
    reconstructor = Reconstructor.load(method="cg-sense", compare=False)
    ticks = []
    made = slices.reconstruct(scan, reconstructor, tick=ticks.append)
    assert ticks == [1, 2]
    whole = reconstructor(scan)
    from fewstep.mri.write import product

    expected = product(scan, whole.image, report={})
    np.testing.assert_allclose(made.image, expected.image, rtol=0, atol=1e-4 * np.abs(expected.image).max())
    np.testing.assert_allclose(made.report["residual"]["cg-sense"], whole.report["residual"]["cg-sense"], rtol=1e-3)


def test_a_worse_residual_is_never_hidden():
    residuals = {"dds": [0.1, 0.3, 0.2], "cg-sense": [0.1, 0.1, 0.1], "l1-wavelet": [0.2, 0.3, 0.2]}
    assert slices.disagreements("dds", residuals) == [
        "dds agrees less with the data than cg-sense in 2 of 3 slices, most in number 2 (0.3000 against 0.1000)"
    ]
    assert slices.disagreements("cg-sense", residuals) == []


def test_empty_slices_stay_empty(tmp_path):
    data = kspace()
    data[1] = 0
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=data))
    made = slices.reconstruct(scan, Reconstructor.load(method="cg-sense", compare=False))
    assert made.report["slices_without_signal"] == 1
    assert float(np.abs(made.image[1]).max()) == 0
    assert float(np.abs(made.image[0]).max()) > 0


class Sampler:
    """Stands in for a method that draws samples."""

    model = {"name": "none", "sha256": "0"}  # noqa: RUF012

    def __call__(self, scan, *, noise, seed):
        from fewstep.mri.api import Reconstruction

        image = torch.full((1, *scan.kspace.shape[-2:]), 1.0 + seed, dtype=torch.complex64)
        report = {
            "method": "dds", "nfe": 8, "samples": 4, "seed": seed, "residual": {"dds": [0.1]}, "seconds_per_slice": 0.1,
            "warnings": ["the same", f"slice {seed} differs", *(["rare"] if seed == 1 else [])],
        }  # fmt: skip
        return Reconstruction(image, image.abs() / 10, report, image / 2, {})


def test_a_job_goes_on_with_the_slices_that_it_lacks(tmp_path):
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=kspace(slices=4), target=False))
    calls = []

    class Counting(Sampler):
        def __call__(self, scan, *, noise, seed):
            calls.append(seed)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return super().__call__(scan, noise=noise, seed=seed)

    with pytest.raises(KeyboardInterrupt):
        slices.reconstruct(scan, Counting(), kept=tmp_path / "kept")
    (tmp_path / "kept" / "00000.npz").write_bytes(b"damaged")
    made = slices.reconstruct(scan, Counting(), kept=tmp_path / "kept")
    assert calls == [0, 1, 2, 0, 2, 3]
    plain = slices.reconstruct(scan, Sampler())
    np.testing.assert_array_equal(made.image, plain.image)
    np.testing.assert_array_equal(made.std, plain.std)
    assert made.report == plain.report


def test_std_series_and_seeds(tmp_path):
    settings = batch.Settings(tmp_path / "out", Options("raw"), seed=0)
    job = Job("a.h5", "hdf5", (write_mrd(tmp_path / "a.h5"),))
    manifest = batch.run(job, settings, Sampler(), settings.key(job, Sampler.model))
    report = manifest["scans"][0]
    assert report["residual"] == {"dds": [0.1, 0.1]}
    assert report["seed"] == 0
    assert sorted(report["warnings"]) == ["rare (in 1 slices)", "slice 0 differs (in 2 slices)", "the same"]
    image, std = (sorted((tmp_path / "out").rglob(f"dicom-{what}/*.dcm")) for what in ("image", "std"))
    assert len(image) == len(std) == 2
    objects = [pydicom.dcmread(f) for f in (image[0], std[0])]
    assert objects[0].SeriesInstanceUID != objects[1].SeriesInstanceUID
    assert "std" in objects[1].SeriesDescription
    ratio = objects[1].pixel_array.mean() / objects[0].pixel_array.mean()
    assert ratio == pytest.approx(0.1, rel=1e-3)  # in the unit of the image
    assert batch.done(settings, manifest["key"]) == json.loads(json.dumps(manifest))
    assert settings.key(job, {"name": "other"}) != manifest["key"]
