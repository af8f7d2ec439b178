"""DICOM series: valid by dciodvfy, in the right place by three readers, the same when written again."""

import shutil
import subprocess
import warnings

import numpy as np
import pydicom
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier
from fewstep.mri.read import Options, read_scans
from fewstep.mri.write import product, restored, write_dicom
from fewstep.mri.write.attributes import INHERITED, sanitise, uid, valid_uid
from fewstep.mri.write.derivation import derivation

from ..files import NORMAL, PHASE, READ, magnitude, middle, write_enhanced, write_mrd, write_series

REPORT = {
    "method": "dds",
    "nfe": 8,
    "samples": 4,
    "seed": 3,
    "acceleration": 4.0,
    "model": {"name": "mri-prior", "sha256": "ab" * 32},
    "warnings": [],
}
dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")


def made(scan, report=REPORT):
    image = Fourier(tuple(scan.kspace.shape[1:]), (-2, -1)).apply_adjoint(scan.kspace)
    image = torch.linalg.vector_norm(image, dim=1).to(torch.complex64)
    return product(scan, image, std=image.abs() * 0.02, report=dict(report))


def raw(tmp_path):
    return made(read_scans(write_mrd(tmp_path / "a.h5"))[0])


def restore(tmp_path, **options):
    folder = write_series(tmp_path / "source", **options)
    scan = read_scans(folder, options=Options("restore"))[0]
    return made(scan)


def enhanced(tmp_path):
    return made(read_scans(write_enhanced(tmp_path / "e.dcm", order=[2, 0, 1]), options=Options("qa", 3.0))[0])


def enlarged(tmp_path):
    return made(read_scans(write_series(tmp_path / "source"), options=Options("restore", enlarge=2))[0])


SOURCES = {"raw": raw, "restore": restore, "enhanced": enhanced, "enlarged": enlarged}
every = pytest.mark.parametrize("source", SOURCES)


def read_back(told):
    return [pydicom.dcmread(file) for file in told["files"]]


@dciodvfy
@pytest.mark.parametrize("what", ["image", "std"])
@every
def test_valid_by_dciodvfy(tmp_path, source, what):
    told = write_dicom(tmp_path / "out", SOURCES[source](tmp_path), key="k", what=what)
    for file in told["files"][:2]:
        run = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True)
        errors = [line for line in (run.stderr + run.stdout).splitlines() if line.startswith("Error")]
        assert errors == []


@every
def test_place_by_pydicom(tmp_path, source):
    p = SOURCES[source](tmp_path)
    objects = read_back(write_dicom(tmp_path / "out", p, key="k"))
    for i, one in enumerate(objects):
        first = p.geometry.first_pixel(i, p.size, p.spacing)
        np.testing.assert_allclose(one.ImagePositionPatient, first, atol=1e-4)
        np.testing.assert_allclose(one.ImageOrientationPatient[:3], p.geometry.row_direction, atol=1e-6)
        np.testing.assert_allclose(one.ImageOrientationPatient[3:], p.geometry.column_direction, atol=1e-6)
        np.testing.assert_allclose(one.PixelSpacing, p.spacing[:2], rtol=1e-6)
        assert float(one.SpacingBetweenSlices) == pytest.approx(p.spacing[2], abs=1e-4)
        assert one.InstanceNumber == i + 1
    along = [np.dot(one.ImagePositionPatient, p.geometry.normal) for one in objects]
    assert along == sorted(along)


@pytest.mark.parametrize("source", ["raw", "restore", "enlarged"])
def test_place_by_simpleitk(tmp_path, source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sitk = pytest.importorskip("SimpleITK")
        p = SOURCES[source](tmp_path)
        told = write_dicom(tmp_path / "out", p, key="k")
        image = sitk.ReadImage([str(file) for file in told["files"]])
        direction, spacing = np.array(image.GetDirection()).reshape(3, 3), image.GetSpacing()
        pixels = sitk.GetArrayFromImage(image)
    np.testing.assert_allclose(image.GetOrigin(), p.geometry.first_pixel(0, p.size, p.spacing), atol=1e-3)
    np.testing.assert_allclose(direction[:, 0], p.geometry.row_direction, atol=1e-5)
    np.testing.assert_allclose(direction[:, 1], p.geometry.column_direction, atol=1e-5)
    np.testing.assert_allclose(direction[:, 2], p.geometry.normal, atol=1e-4)
    np.testing.assert_allclose(spacing, (p.spacing[1], p.spacing[0], p.spacing[2]), atol=1e-3)
    np.testing.assert_allclose(pixels / told["scale"], p.magnitude, atol=0.51 / told["scale"])


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("source", ["raw", "restore", "enlarged"])
def test_place_by_dcm2niix(tmp_path, source):
    import nibabel

    p = SOURCES[source](tmp_path)
    write_dicom(tmp_path / "out", p, key="k")
    (tmp_path / "nii").mkdir()
    command = ["dcm2niix", "-o", str(tmp_path / "nii"), "-f", "a", "-b", "n", "-x", "n", str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    (file,) = (tmp_path / "nii").glob("*.nii")
    theirs = nibabel.load(file).affine
    ours = p.geometry.affine(p.size, p.spacing)
    rows = p.size[0]
    flipped = ours.copy()  # it stores rows from the last to the first
    flipped[:, 1] = -ours[:, 1]
    flipped[:3, 3] = ours[:3, 3] + ours[:3, 1] * (rows - 1)
    corners = np.array([[0, 0, 0, 1], [p.size[1] - 1, rows - 1, len(p.image) - 1, 1]]).T
    np.testing.assert_allclose(
        sorted(map(tuple, (theirs @ corners).T)), sorted(map(tuple, (flipped @ corners).T)), atol=2e-3
    )


def test_raw_is_upright_and_keeps_its_place(tmp_path):
    scan = read_scans(write_mrd(tmp_path / "a.h5"))[0]
    image = torch.rand(2, 24, 20, generator=torch.Generator().manual_seed(0)).to(torch.complex64)
    p = product(scan, image, report={})
    assert p.geometry.row_direction[0] > 0.5  # axial: the patient's left is on the right
    assert p.geometry.column_direction[1] > 0.5  # the back is below
    for i in range(2):  # the brightest pixel lies at the same place in the patient
        y, x = np.unravel_index(int(image[i].abs().argmax()), image[i].shape)
        where = middle(i) + (y - 11.5) * 10 * READ + (x - 9.5) * 11 * PHASE
        j = int(np.argmin([abs(np.dot(np.array(m) - middle(i), NORMAL)) for m in p.geometry.middles]))
        v, u = np.unravel_index(p.magnitude[j].argmax(), p.size)
        first = np.array(p.geometry.first_pixel(j, p.size, p.spacing))
        row, column = np.array(p.geometry.row_direction), np.array(p.geometry.column_direction)
        np.testing.assert_allclose(first + u * p.spacing[1] * row + v * p.spacing[0] * column, where, atol=1e-3)


def test_a_new_series_of_the_same_study(tmp_path):
    p = restore(tmp_path)
    source = pydicom.dcmread(next((tmp_path / "source").iterdir()))
    objects = read_back(write_dicom(tmp_path / "out", p, key="k"))
    one = objects[0]
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "StudyDate", "EchoTime", "Manufacturer"):
        assert one[keyword].value == source[keyword].value
    assert one.SeriesInstanceUID != source.SeriesInstanceUID
    assert one.SeriesNumber == 701
    assert one.SeriesDescription == "t1 test [fewstep DDS8]"
    assert list(one.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "M"]
    assert one.BurnedInAnnotation == "NO"
    assert len({o.SOPInstanceUID for o in objects}) == 5
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    assert one.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert not [e for e in one if e.tag.is_private]
    assert "DerivationCodeSequence" not in one  # there is no code that is true


def test_sources_and_equipment_are_named(tmp_path):
    p = restore(tmp_path)
    for i, one in enumerate(read_back(write_dicom(tmp_path / "out", p, key="k"))):
        item = one.SourceImageSequence[0]
        assert item.ReferencedSOPInstanceUID == f"1.2.826.99.{i + 1}"
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        equipment = one.ContributingEquipmentSequence[0]
        assert equipment.Manufacturer == "fewstep"
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        text = one.DerivationDescription
        for word in (
            "mode restore",
            "method dds",
            "8 network calls",
            "seed 3",
            "ab" * 32,
            "acquired band",
            p.info.sha256,
        ):
            assert word in text


def test_frames_of_an_enhanced_source_are_named(tmp_path):
    objects = read_back(write_dicom(tmp_path / "out", enhanced(tmp_path), key="k"))
    assert [int(o.SourceImageSequence[0].ReferencedFrameNumber) for o in objects] == [2, 3, 1]
    assert len(str(objects[0].EchoTime)) <= 16
    assert float(objects[0].EchoTime) == pytest.approx(23.05562400817871)


def test_qa_is_marked_as_a_simulation(tmp_path):
    scan = read_scans(write_series(tmp_path / "s"), options=Options("qa", 3.0))[0]
    one = read_back(write_dicom(tmp_path / "out", made(scan), key="k"))[0]
    assert one.SeriesDescription.startswith("QA SIM t1 test")
    assert "not for diagnosis" in one.DerivationDescription
    assert one.ImageComments.startswith("QA SIM")


def test_written_again_it_is_the_same(tmp_path):
    p = restore(tmp_path)
    one, same, other = (
        [o.SOPInstanceUID for o in read_back(write_dicom(tmp_path / name, p, key=key))]
        for name, key in (("a", "k"), ("b", "k"), ("c", "l"))
    )
    assert one == same
    assert not set(one) & set(other)
    std = write_dicom(tmp_path / "d", p, key="k", what="std", number=2)
    assert not set(one) & {o.SOPInstanceUID for o in read_back(std)}
    assert all(valid_uid(u) for u in one)


def test_values_without_a_slope_are_the_source_unit(tmp_path):
    p = restore(tmp_path)
    told = write_dicom(tmp_path / "out", p, key="k")
    pixels = np.stack([o.pixel_array for o in read_back(told)])
    np.testing.assert_array_equal(pixels, np.rint(p.magnitude).astype(np.uint16))
    assert told["scale"] == 1
    assert "RescaleSlope" not in read_back(told)[0]


def test_a_slope_of_the_source_is_kept_for_the_whole_series(tmp_path):
    def edit(dataset, i):
        dataset.RescaleSlope, dataset.RescaleIntercept = 2.5 if i else 2.0, 1

    p = restore(tmp_path, edit=edit)
    objects = read_back(write_dicom(tmp_path / "out", p, key="k"))
    assert {(float(o.RescaleSlope), float(o.RescaleIntercept)) for o in objects} == {(2.5, 1.0)}
    values = np.stack([o.pixel_array * 2.5 + 1 for o in objects])
    np.testing.assert_allclose(values, p.magnitude.clip(1), atol=1.26)


def test_clipped_pixels_are_counted(tmp_path):
    p = restore(tmp_path)
    from dataclasses import replace

    told = write_dicom(tmp_path / "out", replace(p, image=p.image * 1000), key="k")
    assert told["clipped"] > 0
    assert max(int(o.pixel_array.max()) for o in read_back(told)) == 65535


def test_times_are_in_the_zone_of_the_source(tmp_path):
    def edit(dataset, i):
        dataset.TimezoneOffsetFromUTC = "+0530"

    one = read_back(write_dicom(tmp_path / "out", restore(tmp_path, edit=edit), key="k"))[0]
    assert one.TimezoneOffsetFromUTC == "+0530"
    equipment = one.ContributingEquipmentSequence[0]
    assert str(equipment.ContributionDateTime) == f"{one.ContentDate}{one.ContentTime}+0530"
    other = read_back(write_dicom(tmp_path / "other", raw(tmp_path), key="k"))[0]
    assert "TimezoneOffsetFromUTC" not in other  # its study's times are of an unknown zone


def test_loss_is_never_forgotten(tmp_path):
    def edit(dataset, i):
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = 7.5
        dataset.LossyImageCompressionMethod = "ISO_15444_1"

    one = read_back(write_dicom(tmp_path / "out", restore(tmp_path, edit=edit), key="k"))[0]
    assert (one.LossyImageCompression, float(one.LossyImageCompressionRatio)) == ("01", 7.5)
    assert one.LossyImageCompressionMethod == "ISO_15444_1"


def test_what_is_invalid_is_mended(tmp_path):
    one = read_back(write_dicom(tmp_path / "out", restore(tmp_path), key="k"))[0]
    assert "InversionTime" not in one  # the sequence has no inversion
    assert one.ScanOptions == "FS"  # FAST_GEMS is no defined term
    assert "AcquisitionDate" not in one  # "***" is no date
    assert one["Laterality"].value in (None, "")  # the body part is unknown


@pytest.mark.parametrize(
    "part, side, expected", [("HEAD", "L", None), ("KNEE", "R", "R"), ("KNEE", None, ""), ("", "L", "L")]
)
def test_side(part, side, expected):
    one = pydicom.Dataset()
    one.BodyPartExamined, one.Laterality = part, side
    sanitise(one)
    assert ("Laterality" in one) == (expected is not None)
    assert expected is None or (one.Laterality or "") == expected


def test_too_long_texts_are_cut_and_numbers_shortened():
    one = pydicom.Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one.SeriesDescription, one.StationName, one.ImagingFrequency = "x" * 80, "y" * 30, 123.25277012345678
        one.PatientAge, one.BodyPartExamined = "42", "upper arm, left"
        sanitise(one)
    assert len(one.SeriesDescription) == 64
    assert len(one.StationName) == 16
    assert len(str(one.ImagingFrequency)) <= 16
    assert "PatientAge" not in one
    assert "BodyPartExamined" not in one


def test_refuses(tmp_path):
    from dataclasses import replace

    p = restore(tmp_path)
    with pytest.raises(UsageError, match="--samples 2"):
        write_dicom(tmp_path / "out", replace(p, std=None), key="k", what="std")
    with pytest.raises(UsageError, match="NaN"):
        write_dicom(tmp_path / "out", replace(p, image=p.image * np.nan), key="k")
    for header in p.headers:
        header.BurnedInAnnotation = "YES"
    with pytest.raises(UsageError, match="burned into its pixels"):
        write_dicom(tmp_path / "out", p, key="k")
    assert not list(tmp_path.glob("out/*"))


def test_names_of_attributes_exist():
    assert [keyword for keyword in INHERITED if pydicom.datadict.tag_for_keyword(keyword) is None] == []


def test_uids_depend_on_all_parts():
    assert len({uid("a", 1), uid("a", 2), uid("b", 1), uid("a", 1, "")}) == 4
    assert uid("a", 1) == uid("a", 1)
    assert len(uid("a")) <= 64


def test_derivation_is_short_enough(tmp_path):
    p = restore(tmp_path)
    assert len(derivation(p)) <= 1024


def test_restored_keeps_the_band(tmp_path):
    scan = read_scans(write_series(tmp_path / "s"), options=Options("restore"))[0]
    generator = torch.Generator().manual_seed(0)
    guess = torch.randn(5, 32, 28, dtype=torch.complex64, generator=generator)
    image, kept = restored(scan, guess * 3)
    assert float(image.real.min()) >= 0
    assert float(image.imag.abs().max()) == 0
    transform = Fourier((32, 28), (0, 1))
    error = torch.where(scan.mask, transform.apply(image) - scan.kspace[:, 0], 0).flatten(1).norm(dim=1)
    np.testing.assert_allclose(kept, error / scan.kspace.flatten(1).norm(dim=1), rtol=1e-4)
    assert max(kept) < 0.02
    _, kept = restored(scan, torch.from_numpy(magnitude().astype(np.complex64)))
    assert max(kept) < 0.02
