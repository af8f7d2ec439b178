"""k-space files: fastMRI, ISMRMRD, plain arrays; what comes out is what went in, and what is wrong is said."""

import h5py
import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier
from fewstep.mri.physics import crop_picture
from fewstep.mri.read import find_jobs, read_scans
from fewstep.mri.read.check import checked, sampled

from ..files import (
    COILS,
    COLUMNS,
    FIELD,
    NORMAL,
    PHASE,
    READ,
    ROWS,
    SLICES,
    Mrd,
    coil_images,
    header,
    images,
    kspace,
    middle,
    noise,
    write_fastmri,
    write_mrd,
)  # fmt: skip


def pictures(scan):
    """Coil images of a scan."""
    return Fourier(tuple(scan.kspace.shape[1:]), (-2, -1)).apply_adjoint(scan.kspace)


def same(got, expected, tolerance=1e-5):
    torch.testing.assert_close(got.to(torch.complex128), expected.to(torch.complex128), rtol=0, atol=tolerance)


def every_other(n=COLUMNS, centre=6):
    mask = np.zeros(n, bool)
    mask[::2] = True
    mask[n // 2 - centre // 2 : n // 2 + centre // 2] = True
    return mask


# fastMRI


def test_fastmri(tmp_path):
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5"))
    assert scan.kspace.shape == (SLICES, COILS, ROWS, COLUMNS)
    assert scan.kspace.dtype is torch.complex64
    same(pictures(scan), coil_images(1))
    assert scan.spacing == pytest.approx((FIELD[0] / ROWS, FIELD[1] / COLUMNS, FIELD[2]))
    assert scan.picture == (ROWS, COLUMNS)
    assert bool(scan.mask.all())
    same(scan.reference, images().abs())
    assert scan.info.kind == "fastmri"
    assert scan.info.protocol == "t1_test"
    assert scan.info.patient["PatientID"] == "0123"
    assert (scan.info.echo_time, scan.info.repetition_time, scan.info.flip_angle) == (3.5, 500, 15)
    assert not scan.geometry.known
    assert any("where its slices lie" in warning for warning in scan.info.warnings)


def test_fastmri_picture_smaller_than_the_field(tmp_path):
    xml = header(recon=(ROWS, 16, 1), recon_field=(FIELD[0], FIELD[1] * 16 / COLUMNS, FIELD[2]))
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", xml=xml, target=False))
    assert scan.picture == (ROWS, 16)
    same(crop_picture(pictures(scan), scan.picture), coil_images(1)[..., 2:18])


def test_fastmri_test_file(tmp_path):
    mask = every_other()
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=kspace() * mask, mask=mask, target=False))
    assert torch.equal(scan.mask, torch.from_numpy(mask).expand(1, ROWS, COLUMNS))
    assert float(scan.kspace[..., ~torch.from_numpy(mask)].abs().max()) == 0
    assert scan.acceleration == pytest.approx(COLUMNS / mask.sum())


def test_fastmri_without_a_mask_takes_zeros_as_not_acquired(tmp_path):
    mask = every_other()
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=kspace() * mask, target=False))
    assert torch.equal(scan.mask[0, 0], torch.from_numpy(mask))
    assert any("no mask" in warning for warning in scan.info.warnings)


def test_fastmri_mask_that_promises_too_much(tmp_path):
    data = kspace()
    data[..., 0] = 0
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=data, mask=np.ones(COLUMNS), target=False))
    assert not bool(scan.mask[0, 0, 0])
    assert any("1 lines of its mask hold zeros" in warning for warning in scan.info.warnings)


def test_fastmri_single_coil(tmp_path):
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=kspace()[:, 0], target=False))
    assert scan.kspace.shape == (SLICES, 1, ROWS, COLUMNS)


def test_odd_sizes(tmp_path):
    data = kspace(slices=1, rows=21, columns=19)
    xml = header(rows=42, columns=19, recon=(21, 19, 1))
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=data, xml=xml, target=False))
    same(pictures(scan), coil_images(1, slices=1, rows=21, columns=19))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"drop": ["ismrmrd_header"]}, "has no ismrmrd_header"),
        ({"mask": np.ones(COLUMNS - 3)}, f"mask has {COLUMNS - 3} entries, its k-space {COLUMNS} lines"),
        ({"data": kspace().real}, r"complex kspace \[slice, coil"),
        ({"data": kspace() * 0}, "all zeros"),
        ({"data": np.where(np.arange(COLUMNS) == 3, np.nan, kspace())}, "NaN or infinite samples in slices 0, 1"),
        ({"xml": "<nonsense>"}, "ISMRMRD header cannot be read"),
        ({"xml": header(rows=0)}, "matrix of"),
    ],
)
def test_fastmri_refuses(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        read_scans(write_fastmri(tmp_path / "a.h5", **options))


def test_truncated_hdf5(tmp_path):
    file = write_fastmri(tmp_path / "a.h5")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(UsageError, match=r"a\.h5: cannot be read as HDF5, it is truncated"):
        read_scans(file)


def test_a_dead_coil_is_left_out(tmp_path):
    data = kspace()
    data[:, 2] = 0
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=data))
    assert scan.kspace.shape[1] == COILS - 1
    assert any(f"coil 2 of {COILS} has no signal" in warning for warning in scan.info.warnings)


def test_an_empty_slice_is_said(tmp_path):
    data = kspace()
    data[1] = 0
    (scan,) = read_scans(write_fastmri(tmp_path / "a.h5", data=data))
    assert any("slice 1 holds zeros only" in warning for warning in scan.info.warnings)


# ISMRMRD


def test_mrd(tmp_path):
    (scan,) = read_scans(write_mrd(tmp_path / "a.h5"))
    same(pictures(scan), coil_images(1))
    assert scan.spacing == pytest.approx((FIELD[0] / ROWS, FIELD[1] / COLUMNS, 8.0))
    assert scan.picture == (ROWS, COLUMNS)
    g = scan.geometry
    np.testing.assert_allclose(g.row_direction, PHASE, atol=1e-6)
    np.testing.assert_allclose(g.column_direction, READ, atol=1e-6)
    np.testing.assert_allclose(g.middles, [middle(0), middle(1)], atol=1e-4)
    assert scan.info.patient == {
        "PatientName": "DOE^JANE", "PatientID": "P7", "PatientBirthDate": "19700203", "PatientSex": "F",
    }  # fmt: skip
    assert scan.info.study["StudyInstanceUID"] == "1.2.3.4.5"
    assert (scan.info.study["StudyDate"], scan.info.study["StudyTime"]) == ("20200304", "101112")
    assert scan.noise_std is None
    assert scan.info.warnings == ()


def test_reversed_lines_and_any_order(tmp_path):
    lines = np.random.default_rng(0).permutation(COLUMNS)
    (scan,) = read_scans(write_mrd(tmp_path / "a.h5", lines=[int(k) for k in lines], reverse=range(0, COLUMNS, 2)))
    same(pictures(scan), coil_images(1))


def test_what_is_no_image_is_left_out(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    junk = np.full((COILS, 2 * ROWS), 7, np.complex64)
    for flag in (23, 24, 26, 27, 28, 29, 30, 31):
        made.line(junk, flags=(flag,), kspace_encode_step_1=3)
    made.slices(kspace()).close()
    (scan,) = read_scans(tmp_path / "a.h5")
    same(pictures(scan), coil_images(1))


def test_averages_are_averaged(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    made.slices(kspace() * 0.5, average=0).slices(kspace() * 1.5, average=1).close()
    (scan,) = read_scans(tmp_path / "a.h5")
    same(pictures(scan), coil_images(1))


def test_contrasts_and_repetitions_are_scans(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    for c in range(2):
        for r in range(2):
            made.slices(kspace() * (1 + c + 10 * r), contrast=c, repetition=r)
    made.close()
    scans = read_scans(tmp_path / "a.h5")
    assert [scan.label for scan in scans] == [
        "contrast 1, repetition 1", "contrast 1, repetition 2", "contrast 2, repetition 1", "contrast 2, repetition 2",
    ]  # fmt: skip
    assert [scan.info.echo_time for scan in scans] == [3.5, 3.5, 7.0, 7.0]
    for scan, factor in zip(scans, (1, 11, 2, 12), strict=True):
        same(pictures(scan), factor * coil_images(1), 1e-4)


def test_noise_whitens(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    made.line(noise(COILS, 4000), flags=(19,), dwell=5.0)
    data = kspace() * 0
    for s in range(SLICES):
        data[s] = noise(COILS, 2 * ROWS * COLUMNS, seed=s + 1).reshape(COILS, 2 * ROWS, COLUMNS)
    made.slices(data).close()
    (scan,) = read_scans(tmp_path / "a.h5")
    flat = scan.kspace.movedim(1, 0).flatten(1)
    covariance = (flat @ flat.mH / flat.shape[1]).numpy()
    np.testing.assert_allclose(covariance, np.eye(COILS), atol=0.12)
    assert scan.noise_std == 1.0


def test_noise_of_another_bandwidth_is_scaled(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    made.line(noise(COILS, 4000) * 2, flags=(19,), dwell=1.25)  # four times the bandwidth, twice the noise
    made.slices(np.stack([noise(COILS, 2 * ROWS * COLUMNS, seed=3).reshape(COILS, 2 * ROWS, COLUMNS)] * 2)).close()
    (scan,) = read_scans(tmp_path / "a.h5")
    assert float(scan.kspace.abs().square().mean()) == pytest.approx(1, abs=0.1)


def test_noise_that_cannot_be_used_is_said(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    made.line(np.zeros((COILS, 100), np.complex64), flags=(19,))
    made.slices(kspace()).close()
    (scan,) = read_scans(tmp_path / "a.h5")
    assert any("noise scan cannot be used" in warning for warning in scan.info.warnings)
    same(pictures(scan), coil_images(1))


def test_partial_echo_lines_lie_where_they_belong(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    data = kspace()
    cut = 12
    for s in range(SLICES):
        for k in range(COLUMNS):
            made.line(data[s, :, cut:, k], centre=ROWS - cut, place=middle(s), kspace_encode_step_1=k, slice=s)
    made.close()
    (scan,) = read_scans(tmp_path / "a.h5")
    expected = kspace(1)
    rows = torch.arange(ROWS) >= cut // 2
    assert torch.equal(scan.mask[0], rows[:, None].expand(ROWS, COLUMNS))
    inner = scan.kspace[..., cut // 2 + 2 :, :] - torch.from_numpy(expected)[..., cut // 2 + 2 :, :]
    assert float(inner.abs().max()) < 0.05 * float(np.abs(expected).max())


def test_partial_fourier_in_phase_and_discarded_samples(tmp_path):
    made = Mrd(tmp_path / "a.h5", xml=header(centre=COLUMNS // 2 - 6))
    data = kspace()
    for s in range(SLICES):
        for k in range(6, COLUMNS):
            made.line(data[s, :, :, k], place=middle(s), kspace_encode_step_1=k - 6, slice=s)
    made.close()
    (scan,) = read_scans(tmp_path / "a.h5")
    assert torch.equal(scan.mask[0, 0], torch.arange(COLUMNS) >= 6)
    np.testing.assert_allclose(scan.kspace[..., 6:], kspace(1)[..., 6:], atol=1e-5)


def test_embedded_calibration_fills_lines(tmp_path):
    made = Mrd(tmp_path / "a.h5", xml=header(calibration="embedded"))
    made.slices(kspace(), lines=range(0, COLUMNS, 2)).slices(kspace(), lines=range(7, 13, 2), flags=(20,)).close()
    (scan,) = read_scans(tmp_path / "a.h5")
    assert torch.equal(scan.mask[0, 0].nonzero().flatten(), torch.tensor([0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18]))
    assert scan.coil_maps is None


def test_separate_calibration_becomes_coil_maps(tmp_path):
    made = Mrd(tmp_path / "a.h5", xml=header(calibration="separate"))
    made.slices(kspace(), lines=range(0, COLUMNS, 2)).slices(kspace() * 3, lines=range(2, 18), flags=(20,)).close()
    (scan,) = read_scans(tmp_path / "a.h5")
    assert torch.equal(scan.mask[0, 0].nonzero().flatten(), torch.arange(0, COLUMNS, 2))
    assert scan.coil_maps.shape == scan.kspace.shape
    seen = coil_images(1).to(torch.complex64)
    left = seen - scan.coil_maps * (scan.coil_maps.conj() * seen).sum(1, keepdim=True)
    assert float(left.norm() / seen.norm()) < 0.15


def volume(partitions=6):
    return Fourier((partitions, COILS, 2 * ROWS, COLUMNS), (0,)).apply(
        torch.from_numpy(kspace(slices=partitions)).unsqueeze(0)
    )[0]


def write_volume(file, lines, partitions=6, **options):
    made = Mrd(file, xml=header(partitions=partitions, recon_field=(FIELD[0], FIELD[1], 8.0 * partitions)))
    data = volume(partitions).numpy()
    for k2, k1 in lines:
        made.line(data[k2, :, :, k1], place=middle(0), kspace_encode_step_1=k1, kspace_encode_step_2=k2)
    made.close()
    return file


def test_volume_becomes_slices(tmp_path):
    lines = [(k2, k1) for k2 in range(6) for k1 in range(0, COLUMNS, 2)]
    (scan,) = read_scans(write_volume(tmp_path / "a.h5", lines))
    np.testing.assert_allclose(scan.kspace[..., ::2], kspace(1, slices=6)[..., ::2], atol=1e-4)
    assert scan.spacing[2] == pytest.approx(8.0)
    gaps = np.diff(np.array(scan.geometry.middles) @ NORMAL)
    np.testing.assert_allclose(gaps, 8.0, atol=1e-4)
    np.testing.assert_allclose(np.mean(scan.geometry.middles, axis=0), middle(0), atol=1e-4)


def test_volume_with_partial_fourier_along_the_slab(tmp_path):
    lines = [(k2, k1) for k2 in range(2, 6) for k1 in range(COLUMNS)]
    (scan,) = read_scans(write_volume(tmp_path / "a.h5", lines))
    assert any("3D with partial Fourier: 2 of 6 partitions" in warning for warning in scan.info.warnings)


def test_volume_undersampled_along_the_slab_is_refused(tmp_path):
    lines = [(k2, k1) for k2 in range(6) for k1 in range(COLUMNS) if (k1 + k2) % 2]
    with pytest.raises(UsageError, match="undersampled along its partitions"):
        read_scans(write_volume(tmp_path / "a.h5", lines))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda made: None, "no ISMRMRD file|holds no readouts|has readouts"),
        (lambda made: made.line(noise(COILS, 50), flags=(19,)), "only noise, navigators"),
        (lambda made: made.line(noise(COILS, 48), kspace_encode_step_1=COLUMNS + 3), "do not fit its matrix"),
        (
            lambda made: (made.line(noise(COILS, 48)), made.line(noise(3, 48), kspace_encode_step_1=1)),
            r"readouts have \[3, 4\] channels",
        ),
        (None, "belong to encoding 4"),
    ],
)
def test_mrd_refuses(tmp_path, make, message):
    made = Mrd(tmp_path / "a.h5")
    if "encoding 4" in message:
        made.slices(kspace())
        made.close()
        with h5py.File(tmp_path / "a.h5", "r+") as h5:
            table = h5["dataset/data"][()]
            table["head"]["encoding_space_ref"] = 4
            h5["dataset/data"][...] = table
    else:
        make(made)
        made.close()
    with pytest.raises(UsageError, match=message):
        read_scans(tmp_path / "a.h5")


def test_mrd_without_a_header(tmp_path):
    with pytest.raises(UsageError, match="no ISMRMRD header"):
        read_scans(write_mrd(tmp_path / "a.h5", xml=""))


def test_mrd_not_cartesian(tmp_path):
    with pytest.raises(UsageError, match="trajectory is radial"):
        read_scans(write_mrd(tmp_path / "a.h5", xml=header(trajectory="radial")))


def test_mrd_epi_is_said(tmp_path):
    (scan,) = read_scans(write_mrd(tmp_path / "a.h5", xml=header(trajectory="epi")))
    assert any("EPI" in warning for warning in scan.info.warnings)


def test_mrd_several_orientations(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    for k in range(COLUMNS):
        made.line(kspace()[0, :, :, k], kspace_encode_step_1=k, slice=0)
        made.line(kspace()[1, :, :, k], kspace_encode_step_1=k, slice=1, directions=(PHASE, READ, -NORMAL))
    made.close()
    with pytest.raises(UsageError, match="several orientations"):
        read_scans(tmp_path / "a.h5")


def test_mrd_without_directions(tmp_path):
    made = Mrd(tmp_path / "a.h5")
    zero = np.zeros(3)
    for s in range(SLICES):
        for k in range(COLUMNS):
            made.line(kspace()[s, :, :, k], kspace_encode_step_1=k, slice=s, directions=(zero, zero, zero))
    made.close()
    (scan,) = read_scans(tmp_path / "a.h5")
    assert not scan.geometry.known


def test_other_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["pictures"] = np.zeros(3)
    with pytest.raises(UsageError, match="no ISMRMRD file with raw data"):
        read_scans(tmp_path / "a.h5")


# arrays


@pytest.mark.parametrize("axes", [2, 3, 4])
def test_npy(tmp_path, axes):
    data = kspace(1)[(0,) * (4 - axes)] * every_other()
    np.save(tmp_path / "a.npy", data)
    (scan,) = read_scans(tmp_path / "a.npy", spacing=(2, 3, 4))
    assert scan.kspace.shape[-2:] == (ROWS, COLUMNS)
    assert torch.equal(scan.kspace.reshape(data.shape), torch.from_numpy(data))
    assert torch.equal(scan.mask[0, 0], torch.from_numpy(every_other()))
    assert scan.spacing == (2, 3, 4)


def test_npy_without_spacing_says_so(tmp_path):
    np.save(tmp_path / "a.npy", kspace(1))
    (scan,) = read_scans(tmp_path / "a.npy")
    assert scan.spacing == (1, 1, 1)
    assert any("--spacing" in warning for warning in scan.info.warnings)


@pytest.mark.parametrize(
    "data, message",
    [
        (np.zeros((4, 5)), "magnitude pictures are read from DICOM"),
        (np.zeros(4, complex), r"complex k-space \[coil, y, x\]"),
        (np.zeros((0, 4, 5), complex), "holds no k-space samples"),
        (np.array([{"a": 1}], dtype=object), "cannot be read as .npy"),
    ],
)
def test_npy_refuses(tmp_path, data, message):
    np.save(tmp_path / "a.npy", data, allow_pickle=True)
    with pytest.raises(UsageError, match=message):
        read_scans(tmp_path / "a.npy")


def test_truncated_npy(tmp_path):
    np.save(tmp_path / "a.npy", kspace(1))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:500])
    with pytest.raises(UsageError, match="cannot be read as .npy"):
        read_scans(tmp_path / "a.npy")


def write_cfl(folder, data, dims):
    (folder / "a.hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
    np.asarray(data, np.complex64).ravel(order="F").tofile(folder / "a.cfl")
    return folder / "a.cfl"


@pytest.mark.parametrize("suffix", [".cfl", ".hdr"])
def test_cfl(tmp_path, suffix):
    data = kspace(1)[0].transpose(1, 2, 0)[:, :, None]
    write_cfl(tmp_path, data, (ROWS, COLUMNS, 1, COILS))
    (scan,) = read_scans(tmp_path / f"a{suffix}", spacing=(1, 1, 1))
    np.testing.assert_array_equal(scan.kspace[0], kspace(1)[0])
    assert len(find_jobs([tmp_path])) == 1  # the pair is one job


def test_cfl_volume(tmp_path):
    data = Fourier((6, COILS, ROWS, COLUMNS), (0,)).apply(torch.from_numpy(kspace(1, slices=6))[None])[0]
    write_cfl(tmp_path, data.permute(2, 3, 0, 1).numpy(), (ROWS, COLUMNS, 6, COILS))
    (scan,) = read_scans(tmp_path / "a.cfl", spacing=(1, 1, 1))
    np.testing.assert_allclose(scan.kspace, kspace(1, slices=6), atol=1e-4)


def test_cfl_refuses(tmp_path):
    data = np.zeros((4, 5, 1, 2, 1, 3), np.complex64)
    with pytest.raises(UsageError, match="dimensions besides"):
        read_scans(write_cfl(tmp_path, data, data.shape))
    with pytest.raises(UsageError, match="its header says"):
        read_scans(write_cfl(tmp_path, data, (4, 5, 1, 7)))
    (tmp_path / "a.hdr").write_text("nothing\n")
    with pytest.raises(UsageError, match="no line of dimensions"):
        read_scans(tmp_path / "a.cfl")
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(UsageError, match=r"a\.hdr is missing"):
        read_scans(tmp_path / "a.cfl")


# twix, through a parser that stands in for the extra


class FakeImage:
    def __init__(self, data):
        self.data, self.squeeze = data, True
        self.centerLin = np.full(3, COLUMNS // 2)

    def __getitem__(self, key):
        assert (self.flagRemoveOS, self.squeeze) == (False, False)
        return self.data


def fake_twix(monkeypatch, *, normal=(0.0, 0.0, 1.0), echoes=2, lines=None, reference=None, mode=2.0):
    import sys
    from types import ModuleType

    seen = kspace().transpose(2, 1, 3, 0)  # Col, Cha, Lin, Sli
    shape = (2 * ROWS, COILS, COLUMNS, 1, SLICES, 1, 1, 1, 1, 1, 1)
    data = np.concatenate([(1 + e) * seen.reshape(shape) for e in range(echoes)], axis=7)
    whole = data[:, :, :, :, :, :, :, :1]
    if lines is not None:
        data = data * np.isin(np.arange(COLUMNS), lines)[:, None, None, None, None, None, None, None, None]
    slice_array = {}
    for i in range(SLICES):
        at = ("sSliceArray", "asSlice", str(i))
        slice_array |= {
            (*at, "dThickness"): 5.0, (*at, "dReadoutFOV"): 240.0, (*at, "dPhaseFOV"): 220.0,
            (*at, "sNormal", "dSag"): normal[0], (*at, "sNormal", "dCor"): normal[1],
            (*at, "sNormal", "dTra"): normal[2],
            (*at, "sPosition", "dTra"): 6.0 * i,
        }  # fmt: skip
    meas = {
        ("tProtocolName",): '"gre"', ("alTE", "0"): 3000.0, ("alTE", "1"): 6000.0, ("alTR", "0"): 50000.0,
        ("sSliceArray", "lSize"): float(SLICES), ("sPat", "ucRefScanMode"): mode, **slice_array,
    }  # fmt: skip
    header = {"MeasYaps": meas, "Dicom": {"Manufacturer": "SIEMENS", "flReadoutOSFactor": 2.0}, "Config": {}}
    module = ModuleType("mapvbvd")
    parts = {"image": FakeImage(data), "hdr": header}
    if reference is not None:
        inside = np.isin(np.arange(COLUMNS), reference)[:, None, None, None, None, None, None, None, None]
        parts["refscan"] = FakeImage((whole * inside)[:, :, : max(reference) + 1])
    module.mapVBVD = lambda file, quiet: [{"hdr": {}}, parts]
    monkeypatch.setitem(sys.modules, "mapvbvd", module)


def test_twix(tmp_path, monkeypatch):
    fake_twix(monkeypatch)
    (tmp_path / "a.dat").write_bytes(b"\0" * 400)
    scans = read_scans(tmp_path / "a.dat")
    assert [scan.label for scan in scans] == ["contrast 1", "contrast 2"]
    same(pictures(scans[1]), 2 * coil_images(1))
    assert [scan.info.echo_time for scan in scans] == [3.0, 6.0]
    assert scans[0].info.protocol == "gre"
    assert scans[0].spacing == pytest.approx((10, 11, 6))
    g = scans[0].geometry
    np.testing.assert_allclose(np.abs(g.normal), (0, 0, 1), atol=1e-9)
    np.testing.assert_allclose(g.middles, [(0, 0, 0), (0, 0, 6)])


def test_twix_calibration_lines_of_the_scan_itself_are_put_in(tmp_path, monkeypatch):
    fake_twix(monkeypatch, echoes=1, lines=range(0, COLUMNS, 2), reference=range(6, 14))
    (tmp_path / "a.dat").write_bytes(b"\0" * 400)
    (scan,) = read_scans(tmp_path / "a.dat")
    expected = sorted({*range(0, COLUMNS, 2), *range(6, 14)})
    assert scan.mask[0, 0].nonzero().flatten().tolist() == expected
    assert scan.coil_maps is None
    np.testing.assert_allclose(scan.kspace[..., expected], kspace(1)[..., expected], atol=1e-5)


def test_twix_calibration_scan_of_its_own_becomes_coil_maps(tmp_path, monkeypatch):
    fake_twix(monkeypatch, echoes=1, lines=range(0, COLUMNS, 2), reference=range(3, 17), mode=4.0)
    (tmp_path / "a.dat").write_bytes(b"\0" * 400)
    (scan,) = read_scans(tmp_path / "a.dat")
    assert scan.mask[0, 0].nonzero().flatten().tolist() == list(range(0, COLUMNS, 2))
    seen = coil_images(1).to(torch.complex64)
    left = seen - scan.coil_maps * (scan.coil_maps.conj() * seen).sum(1, keepdim=True)
    assert float(left.norm() / seen.norm()) < 0.15


@pytest.mark.parametrize("normal", [(1.0, 0, 0), (0, 1.0, 0), (0.3, -0.2, 0.9), (0.6, 0.7, -0.3)])
def test_twix_directions_are_at_right_angles(tmp_path, monkeypatch, normal):
    fake_twix(monkeypatch, normal=normal)
    (tmp_path / "a.dat").write_bytes(b"\0" * 400)
    g = read_scans(tmp_path / "a.dat")[0].geometry
    assert abs(np.dot(g.normal, normal)) == pytest.approx(np.linalg.norm(normal))


def test_twix_of_several_orientations(tmp_path, monkeypatch):
    fake_twix(monkeypatch)
    (tmp_path / "a.dat").write_bytes(b"\0" * 400)
    header = __import__("mapvbvd").mapVBVD("", quiet=True)[1]["hdr"]
    header["MeasYaps"]["sSliceArray", "asSlice", "1", "sNormal", "dSag"] = 0.5
    with pytest.raises(UsageError, match="several orientations"):
        read_scans(tmp_path / "a.dat")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the parser leaves the file open
def test_twix_that_is_none(tmp_path):
    pytest.importorskip("mapvbvd")
    (tmp_path / "a.dat").write_bytes(b"\1\2\3\4" * 5)
    with pytest.raises(UsageError, match=r"a\.dat: (cannot be read as Siemens raw data|holds no image data)"):
        read_scans(tmp_path / "a.dat")


def test_twix_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mapvbvd", None)
    (tmp_path / "a.dat").write_bytes(b"\0" * 400)
    with pytest.raises(UsageError, match=r"fewstep\[twix\]"):
        read_scans(tmp_path / "a.dat")


# shared


def test_sampled_sees_lines_behind_single_zeros():
    data = torch.from_numpy(kspace(1))
    data[0, :, 3, 5] = 0
    assert bool(sampled(data).all())
    points = torch.zeros(2, 1, 8, 8, dtype=torch.complex64)
    points[0, 0, 1::2, ::3] = 1
    points[1, 0, ::2, ::3] = 1
    assert torch.equal(sampled(points), (points != 0).any(1))


def test_checked_keeps_weak_coils():
    data = torch.from_numpy(kspace(1))
    data[:, 1] *= 1e-3
    assert checked(data, "a")[1] == [0, 1, 2, 3]


def test_unknown_files_and_folders(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UsageError, match="no such file or folder"):
        read_scans(tmp_path / "b.h5")
    with pytest.raises(UsageError, match=r"a\.txt: is no file that is read here"):
        read_scans(tmp_path / "a.txt")
    with pytest.raises(UsageError, match="holds no raw data"):
        read_scans(tmp_path)


@pytest.mark.parametrize("mode", ["restore", "qa"])
def test_wrong_mode_for_the_file(tmp_path, mode):
    with pytest.raises(UsageError, match=f"mode {mode} is for magnitude pictures"):
        read_scans(write_fastmri(tmp_path / "a.h5"), mode=mode)
    with pytest.raises(UsageError, match="mode among raw, restore, qa"):
        read_scans(tmp_path / "a.h5", mode="sr")
