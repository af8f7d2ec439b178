"""NIfTI, npz, pictures, reports, JSON, claims: whole or not at all, in the right place, safe names."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.mri.geometry import Geometry, Turn, unknown, upright
from fewstep.mri.scan import Scan, ScanInfo
from fewstep.mri.write import product, write_json, write_nifti, write_npz, write_report, write_sheet
from fewstep.mri.write.claims import STALE, claim
from fewstep.mri.write.files import safe_name
from fewstep.mri.write.pictures import png

from ..files import NORMAL, PHASE, READ, middle


def scan(slices=3, shape=(10, 8), order=(2, 0, 1), mode="raw"):
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(slices, 1, *shape, dtype=torch.complex64, generator=generator)
    g = Geometry(tuple(PHASE), tuple(READ), tuple(tuple(middle(s)) for s in order), 8.0)
    info = ScanInfo("a.h5", "0" * 64, "ismrmrd", protocol="<t1>")
    return Scan(kspace, torch.ones(1, *shape, dtype=torch.bool), (2.0, 3.0, 8.0), (8, 6), g, info, mode=mode)


def made(**options):
    one = scan(**options)
    image = one.kspace[:, 0]
    report = {
        "method": "dds", "nfe": 8, "residual": {"dds": [0.1, 0.2, 0.3], "cg-sense": [0.05] * 3},
        "warnings": ["<beware>"],
        "coil_maps": {"method": "espirit", "acs": [24, 8]}, "seed": 0, "model": {"sha256": "ab"},
    }  # fmt: skip
    return product(one, image, std=image.abs(), others={"zero-filled": image / 2}, report=report)


def test_product_is_cut_turned_and_in_order():
    one = scan()
    p = product(one, one.kspace[:, 0], report={})
    assert p.size in ((8, 6), (6, 8))
    along = np.array(p.geometry.middles) @ np.array(p.geometry.normal)
    assert (np.diff(along) > 0).all()
    if p.size == (6, 8):
        assert p.spacing == (3.0, 2.0, 8.0)
    kept = product(scan(mode="restore"), one.kspace[:, 0], report={})
    assert kept.size == (8, 6)  # the pictures of a DICOM series are not turned


def test_nifti_lies_where_the_slices_do(tmp_path):
    import nibabel

    p = made()
    write_nifti(tmp_path / "a.nii.gz", p, p.magnitude)
    image = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), p.magnitude)
    for k in range(3):
        v, u = 5, 2
        first = np.array(p.geometry.first_pixel(k, p.size, p.spacing))
        where = first + u * p.spacing[1] * np.array(p.geometry.row_direction)
        where = where + v * p.spacing[0] * np.array(p.geometry.column_direction)
        np.testing.assert_allclose((image.affine @ [u, v, k, 1])[:3], where * [-1, -1, 1], atol=1e-3)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms(), (p.spacing[1], p.spacing[0], 8.0), atol=1e-4)


def test_npz(tmp_path):
    p = made()
    write_npz(tmp_path / "a.npz", p)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"image", "std", "zero_filled", "spacing", "affine"}
        np.testing.assert_array_equal(arrays["image"], p.image)


def test_sheet(tmp_path):
    from matplotlib.image import imread

    volume = np.zeros((5, 8, 6), np.float32)
    volume[4, 0, 0] = 1
    write_sheet(tmp_path / "a.png", volume)
    picture = imread(tmp_path / "a.png")[..., 0]
    assert picture.shape == (16, 18)
    assert picture[8, 6] == 1  # the fifth slice: second row, second column
    write_sheet(tmp_path / "b.png", np.ones((200, 8, 6), np.float32))
    assert imread(tmp_path / "b.png").shape[:2] == (48, 36)


def test_report_has_pictures_and_figures(tmp_path):
    p = replace(made(), reference=made().magnitude)
    write_report(tmp_path / "a.html", p)
    text = (tmp_path / "a.html").read_text()
    assert text.count("<img") == 3 * 5  # reference, zero-filled, ours, error, std of three slices
    for word in ("&lt;t1&gt;", "&lt;beware&gt;", "espirit", "0.2000", "0.3000", "cg-sense", "standard deviation"):
        assert word in text
    assert "<beware>" not in text
    assert not re.search(r"(src|href)='(?!data:)", text)  # nothing is fetched


@pytest.mark.parametrize("mode, words", [("restore", "may show what is not there"), ("qa", "not for diagnosis")])
def test_report_says_the_mode(tmp_path, mode, words):
    write_report(tmp_path / "a.html", replace(made(), mode=mode))
    assert words in (tmp_path / "a.html").read_text()


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": (1, float("inf")), "c": np.float64(2)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1, None], "c": 2.0}


def test_nothing_is_left_of_what_fails(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail():
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert file.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "text, name",
    [
        ("../../etc/passwd", "etc-passwd"),
        ("...", "scan"),
        ("a b/c\\d:e", "a-b-c-d-e"),
        ("x" * 99, "x" * 60),
        ("é ü", "scan"),
        ("a..b", "a.b"),
    ],
)
def test_safe_names(text, name):
    assert safe_name(text) == name


def test_picture_of_nan_is_black():
    assert png(np.full((4, 4), np.nan), low=0, high=0).startswith(b"\x89PNG")


# claims


def test_only_one_worker_gets_a_claim(tmp_path):
    file = tmp_path / "jobs" / "a.claim"
    with claim(file) as mine:
        assert mine
        with claim(file) as other:
            assert not other
        assert file.exists()
    assert not file.exists()
    with claim(file) as again:
        assert again


def test_the_claim_of_a_dead_worker_is_taken_over(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (tmp_path / "a.claim").write_text(json.dumps({"host": socket.gethostname(), "process": int(gone.stdout)}))
    with claim(tmp_path / "a.claim") as mine:
        assert mine


@pytest.mark.parametrize("age, mine", [(0, False), (2 * STALE, True)])
def test_a_worker_of_another_machine_is_given_time(tmp_path, age, mine):
    file = tmp_path / "a.claim"
    file.write_text(json.dumps({"host": "elsewhere", "process": 1}))
    os.utime(file, (time.time() - age,) * 2)
    with claim(file) as got:
        assert got == mine


# geometry


def test_geometry_refuses():
    with pytest.raises(UsageError, match="at right angles"):
        Geometry((1, 0, 0), (0.5, 0.5, 0), ((0, 0, 0),))
    with pytest.raises(UsageError, match="finite positions"):
        Geometry((1, 0, 0), (0, 1, 0), ((0, 0, float("nan")),))


def test_first_pixel_and_gap():
    g = Geometry((0, 1, 0), (0, 0, -1), ((0, 0, 0), (-4, 0, 0), (8, 0, 0)))
    assert g.first_pixel(1, (5, 3), (2, 3)) == (-4, -3, 4)
    assert g.normal == (-1, 0, 0)
    assert g.order() == [2, 0, 1]
    assert g.gap() == 6
    assert unknown(1, 5.0).gap() is None


@pytest.mark.parametrize("normal_axis", [0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_upright_pictures(normal_axis, seed):
    """However slices were read out, they end in the usual view, and every pixel stays where it was."""
    rng = np.random.default_rng([normal_axis, seed])
    q = np.linalg.qr(np.eye(3) + 0.2 * rng.standard_normal((3, 3)))[0]
    others = [axis for axis in range(3) if axis != normal_axis]
    rng.shuffle(others)
    row, column = (q[:, axis] * rng.choice([-1, 1]) for axis in others)
    g = Geometry(tuple(row), tuple(column), ((1.0, 2.0, 3.0),))
    turn = upright(g)
    turned = turn.geometry(g)
    down = np.array(turned.column_direction)
    right = np.array(turned.row_direction)
    assert right[0 if normal_axis else 1] > 0.5
    assert (down[1] if normal_axis == 2 else -down[2]) > 0.5
    picture = np.arange(12.0).reshape(3, 4)
    spacing, size = (2.0, 3.0), (3, 4)
    out, new_spacing, new_size = turn.pictures(picture), turn.pair(spacing), turn.pair(size)
    assert out.shape == new_size
    for value in (0.0, 7.0, 11.0):
        (v, u), (y, x) = (np.argwhere(a == value)[0] for a in (out, picture))
        before = np.array(g.first_pixel(0, size, spacing)) + y * 2 * column + x * 3 * row
        after = (
            np.array(turned.first_pixel(0, new_size, new_spacing))
            + v * new_spacing[0] * down
            + u * new_spacing[1] * right
        )
        np.testing.assert_allclose(before, after, atol=1e-9)


def test_no_turn():
    values = np.arange(6).reshape(2, 3)
    assert Turn().pictures(values) is values
    assert pytest.approx(0) == NORMAL @ PHASE
