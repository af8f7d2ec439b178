"""Magnitude pictures: DICOM series put in order, what is refused and why, and the scans of the two modes."""

import zipfile

import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier
from fewstep.mri.read import Options, find_jobs, read_scans
from fewstep.mri.read.dicom import NotForUs
from fewstep.mri.read.magnitude import acquired_band
from fewstep.mri.read.series import read_series

from ..files import PHASE, READ, magnitude, write_enhanced, write_fastmri, write_series

NORMAL = np.cross(PHASE, READ)


def stacks(folder):
    return read_series(((file.name, file) for file in sorted(folder.iterdir())), "test")


def test_order_is_that_of_place(tmp_path):
    (series,) = stacks(write_series(tmp_path / "s", order=[3, 0, 4, 1, 2]))
    np.testing.assert_array_equal(series.values, magnitude())
    np.testing.assert_allclose(np.diff(np.array(series.geometry.middles) @ NORMAL), 4.5, atol=1e-5)
    assert series.spacing == pytest.approx((1.5, 1.25, 4.5))
    first = series.geometry.first_pixel(0, (32, 28), series.spacing)
    np.testing.assert_allclose(first, (-30.0, 12.5, 7.25), atol=1e-5)
    assert series.warnings == ()


def test_enhanced_frames_in_any_order(tmp_path):
    (scan,) = read_scans(write_enhanced(tmp_path / "a.dcm", order=[2, 0, 1]), mode="qa", options=Options("qa", 3.0))
    np.testing.assert_allclose(scan.reference.real, 2.0 * magnitude()[:3] + 1, atol=1e-3)
    assert [int(header.ReferencedFrameNumber) for header in scan.headers] == [2, 3, 1]
    assert float(scan.headers[0].EchoTime) == pytest.approx(23.05562400817871)
    assert acquired_band(scan.headers[0], (32, 28), scan.spacing) == (16, 14)


def test_echoes_of_one_place_are_told_apart(tmp_path):
    def edit(dataset, i):
        dataset.EchoTime = 3.5 if i < 5 else 7
        if i >= 5:
            dataset.ImagePositionPatient = list(map(float, np.array([-30.0, 12.5, 7.25]) + 4.5 * (i - 5) * NORMAL))

    folder = write_series(tmp_path / "s", pixels=np.concatenate([magnitude(), 2 * magnitude()]), edit=edit)
    one, other = stacks(folder)
    assert (one.label, other.label) == ("EchoTime 3.5", "EchoTime 7.0")
    np.testing.assert_array_equal(other.values, 2 * magnitude())


def test_copies_are_left_out(tmp_path):
    folder = write_series(tmp_path / "s")
    (folder / "copy.dcm").write_bytes((folder / "im002.dcm").read_bytes())
    (series,) = stacks(folder)
    assert len(series.values) == 5
    assert any("1 identical copies" in warning for warning in series.warnings)


def test_a_missing_slice_is_said(tmp_path):
    folder = write_series(tmp_path / "s", order=[0, 1, 2, 4])
    assert any("slices are missing" in warning for warning in stacks(folder)[0].warnings)


def test_slopes_of_each_slice_and_signed_pixels(tmp_path):
    def edit(dataset, i):
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + i, 0
        dataset.PixelRepresentation = 1

    (series,) = stacks(write_series(tmp_path / "s", edit=edit))
    np.testing.assert_array_equal(series.values, magnitude() * np.arange(1, 6)[:, None, None].astype(np.float32))


def set_all(**values):
    def edit(dataset, i):
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


def only_last(**values):
    def edit(dataset, i):
        if i == 4:
            set_all(**values)(dataset, i)

    return edit


@pytest.mark.parametrize(
    "edit, message",
    [
        (set_all(ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), "mosaic of many slices"),
        (set_all(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "is a localizer"),
        (set_all(ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), "is a phase, real or imaginary"),
        (set_all(SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT"), r"is CT Image Storage \(CT\)"),
        (set_all(SOPClassUID="1.2.840.10008.5.1.4.1.1.66"), "export the raw file"),
        (set_all(PhotometricInterpretation="MONOCHROME1"), "MONOCHROME1, expected grey values"),
    ],
)
def test_passes_over(tmp_path, edit, message):
    with pytest.raises(NotForUs, match=message):
        stacks(write_series(tmp_path / "s", edit=edit))


@pytest.mark.parametrize(
    "edit, message",
    [
        (only_last(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]), "2 orientations in one series"),
        (only_last(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "is no pair of directions"),
        (only_last(Rows=28, Columns=32), "mixes pictures of"),
        (set_all(ImagePositionPatient=[0, 0, 0]), "neither echo, time nor b value"),
        (only_last(ImagePositionPatient=None), "does not say where the slices lie"),
        (set_all(PixelSpacing=None), "has no PixelSpacing"),
        (set_all(PixelData=bytes(32 * 28 * 2)), "all its pixels are zero"),
        (only_last(SOPInstanceUID="1.2.826.99.1"), "SOPInstanceUID of another picture"),
        (only_last(PixelData=bytes(100)), "cannot be decoded"),
        (only_last(NumberOfFrames=7), "cannot be decoded|classic MR object"),
        (only_last(Rows=60000, Columns=60000), "more than can be worked on"),
    ],
)
def test_refuses(tmp_path, edit, message):
    with pytest.raises(UsageError, match=message):
        stacks(write_series(tmp_path / "s", edit=edit))


def test_enhanced_without_groups_is_refused(tmp_path):
    file = write_enhanced(tmp_path / "a.dcm", edit=lambda d: delattr(d, "PerFrameFunctionalGroupsSequence"))
    with pytest.raises(UsageError, match="functional groups for 0"):
        read_scans(file, options=Options("qa", 3.0))


def test_truncated_object(tmp_path):
    folder = write_series(tmp_path / "s")
    data = (folder / "im001.dcm").read_bytes()
    (folder / "im001.dcm").write_bytes(data[: len(data) - 300])
    with pytest.raises(UsageError, match=r"im001\.dcm"):
        stacks(folder)


def test_no_dicom_at_all(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"a\.dcm: cannot be read as DICOM"):
        read_scans(tmp_path / "a.dcm", options=Options("restore"))


def test_files_without_a_preamble(tmp_path):
    import pydicom

    folder = write_series(tmp_path / "s")
    for file in folder.iterdir():
        one = pydicom.dcmread(file)
        del one.AcquisitionDate
        one.file_meta, one.preamble = pydicom.dataset.FileMetaDataset(), None
        one.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert file.read_bytes()[128:132] != b"DICM"
    (series,) = stacks(folder)
    np.testing.assert_array_equal(series.values, magnitude())
    assert len(find_jobs([folder])) == 1


def test_magnitude_without_a_mode_is_refused_with_the_reason(tmp_path):
    with pytest.raises(UsageError, match=r"not raw data.*lost its phase.*--mode restore.*--mode qa"):
        read_scans(write_series(tmp_path / "s"))


# jobs


def test_jobs_of_a_mixed_folder(tmp_path):
    write_series(tmp_path / "b" / "series")
    write_series(
        tmp_path / "c", edit=set_all(SeriesInstanceUID="1.2.826.77", SeriesNumber=8, SeriesDescription="other")
    )
    write_fastmri(tmp_path / "a.h5")
    (tmp_path / "README").write_text("read me")
    (tmp_path / "b" / "broken.dcm").write_bytes(b"x")
    jobs = find_jobs([tmp_path])
    assert [(job.name, job.kind) for job in jobs] == [
        ("a.h5", "hdf5"), ("series 7 t1 test", "dicom"), ("series 8 other", "dicom"), ("broken.dcm", "dicom"),
    ]  # fmt: skip
    assert jobs[1].study == jobs[2].study  # one study, one worker
    assert jobs[3].error
    assert len({job.digest() for job in jobs}) == 4


def test_archive(tmp_path):
    folder = write_series(tmp_path / "s")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"../../{file.name}")
        archive.writestr("notes.txt", "no picture")
    (scan,) = read_scans(tmp_path / "a.zip", options=Options("restore"))
    assert scan.slices == 5
    assert not list(tmp_path.parent.glob("im*.dcm"))


def test_damaged_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(400))
    with pytest.raises(UsageError, match=r"a\.zip: cannot be unpacked"):
        read_scans(tmp_path / "a.zip", options=Options("restore"))


# restore


def test_restore_keeps_the_acquired_band(tmp_path):
    (scan,) = read_scans(write_series(tmp_path / "s"), options=Options("restore"))
    assert scan.mode == "restore"
    assert scan.kspace.shape == (5, 1, 32, 28)
    assert int(scan.mask.sum()) == 16 * 14
    assert bool(scan.mask[0, 8:24, 7:21].all())
    image = Fourier((1, 32, 28), (-2, -1)).apply_adjoint(scan.kspace)[:, 0]
    left = torch.from_numpy(magnitude().astype(np.float32)) - image.real
    assert float(left.norm() / image.norm()) < 0.1
    assert scan.noise_std > 0
    assert any("is a guess" in warning for warning in scan.info.warnings)


def test_enlarged_pictures_lie_where_they_did(tmp_path):
    folder = write_series(tmp_path / "s")
    (small,) = read_scans(folder, options=Options("restore"))
    (large,) = read_scans(folder, options=Options("restore", enlarge=2))
    assert large.picture == (64, 56)
    assert large.spacing == pytest.approx((0.75, 0.625, 4.5))
    images = [Fourier((1, *s.picture), (-2, -1)).apply_adjoint(s.kspace)[:, 0] for s in (small, large)]
    torch.testing.assert_close(images[1][:, ::2, ::2], images[0], rtol=0, atol=0.05)  # pixel 2i is pixel i
    for i in range(5):
        ends = [s.geometry.first_pixel(i, s.picture, s.spacing) for s in (small, large)]
        np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)


@pytest.mark.parametrize(
    "matrix, direction, percent, size, expected",
    [
        ([256, 0, 0, 192], "ROW", None, (256, 256), (256, 192)),
        ([0, 192, 256, 0], "COL", None, (512, 512), (256, 192)),
        ([0, 256, 0, 230], "ROW", None, (512, 460), (256, 230)),
        ([256, 0, 0, 192], "ROW", 75, (256, 256), (256, 256)),
        ([128, 0, 0, 100], "ROW", 80, (256, 205), (128, 100)),
        ([128, 0, 0, 300], "ROW", 50, (256, 256), (128, 256)),
    ],
)
def test_band(matrix, direction, percent, size, expected):
    header = {"AcquisitionMatrix": matrix, "InPlanePhaseEncodingDirection": direction}
    header |= {"PercentPhaseFieldOfView": percent} if percent else {}
    assert acquired_band(header, size, (1.0, 1.0, 1.0)) == expected


def test_no_band():
    assert acquired_band({}, (8, 8), (1, 1, 1)) is None
    assert acquired_band({"AcquisitionMatrix": [0, 0, 0, 0]}, (8, 8), (1, 1, 1)) is None


@pytest.mark.parametrize(
    "options, edit, message",
    [
        (Options("restore"), set_all(AcquisitionMatrix=None), "does not say how much of k-space"),
        (Options("restore"), set_all(AcquisitionMatrix=[32, 0, 0, 28]), "nothing to fill in"),
        (Options("restore", band=(40, 10)), None, "band of at most"),
        (Options("restore", enlarge=9), None, "enlarge 1 to 4 times"),
        (Options("qa"), None, "acceleration above 1"),
        (Options("qa", acceleration=0.5), None, "acceleration above 1"),
        (Options("qa", acceleration=4, mask="spiral"), None, "no such mask"),
    ],
)
def test_modes_refuse(tmp_path, options, edit, message):
    with pytest.raises(UsageError, match=message):
        read_scans(write_series(tmp_path / "s", edit=edit), options=options)


# qa


@pytest.mark.parametrize("direction, axis", [("ROW", 1), ("COL", 0)])
def test_qa_undersamples_along_the_phase_direction(tmp_path, direction, axis):
    folder = write_series(tmp_path / "s", edit=set_all(InPlanePhaseEncodingDirection=direction))
    options = Options("qa", acceleration=2, mask="equispaced", centre_fraction=0.2, seed=3)
    (scan,) = read_scans(folder, options=options)
    assert scan.mode == "qa"
    lines = scan.mask[0].all(1 - axis)
    assert 0 < int(lines.sum()) < len(lines)
    assert int(scan.mask.sum()) == int(lines.sum()) * scan.mask.shape[2 - axis]
    np.testing.assert_array_equal(scan.reference.real, magnitude())
    full = Fourier((1, 32, 28), (-2, -1)).apply(scan.reference.unsqueeze(1))
    torch.testing.assert_close(scan.kspace, full * scan.mask.unsqueeze(1))
    assert any("simulation" in warning for warning in scan.info.warnings)


def test_qa_with_coils(tmp_path):
    (scan,) = read_scans(write_series(tmp_path / "s"), options=Options("qa", acceleration=2, coils=4))
    assert scan.kspace.shape[1] == 4
    assert scan.coil_maps is None  # they are estimated, as of a real scan


# NIfTI


def write_nifti(file, data, affine=None):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(data, np.diag([-1.25, -1.5, 4, 1]) if affine is None else affine), file)
    return file


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti(tmp_path, name):
    data = magnitude().transpose(2, 1, 0).astype(np.int16)
    file = write_nifti(tmp_path / name, data)
    (scan,) = read_scans(file, options=Options("restore", band=(16, 14)))
    assert scan.spacing == pytest.approx((1.5, 1.25, 4))
    np.testing.assert_allclose(scan.geometry.row_direction, (1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(scan.geometry.column_direction, (0, 1, 0), atol=1e-9)
    np.testing.assert_allclose(scan.geometry.first_pixel(2, (32, 28), scan.spacing), (0, 0, 8), atol=1e-6)
    np.testing.assert_allclose(scan.geometry.affine((32, 28), scan.spacing), np.diag([-1.25, -1.5, 4, 1]), atol=1e-9)


def test_nifti_refuses(tmp_path):
    data = magnitude().transpose(2, 1, 0).astype(np.float32)
    with pytest.raises(UsageError, match="not raw data"):
        read_scans(write_nifti(tmp_path / "a.nii", data))
    for bad, message in [
        (np.stack([data] * 2, -1), "one real volume"),
        (data * 0, "zeros only"),
        (data * np.nan, "NaN or infinity"),
        (data[:, :, 0], "one real volume"),
    ]:
        with pytest.raises(UsageError, match=message):
            read_scans(write_nifti(tmp_path / "b.nii", bad), options=Options("restore"))
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    with pytest.raises(UsageError, match="axes are sheared"):
        read_scans(write_nifti(tmp_path / "c.nii", data, sheared), options=Options("restore"))
    with pytest.raises(UsageError, match="give --band"):
        read_scans(write_nifti(tmp_path / "d.nii", data), options=Options("restore"))
    (tmp_path / "e.nii.gz").write_bytes(b"\x1f\x8b" + bytes(30))
    with pytest.raises(UsageError, match="cannot be read as NIfTI"):
        read_scans(tmp_path / "e.nii.gz", options=Options("restore"))
