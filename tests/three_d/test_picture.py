"""Users' pictures become what the nets know, or it is said what to do."""

import numpy as np
import pytest
from PIL import Image

from fewstep.core.errors import UsageError
from fewstep.three_d.picture import FRAMED, read
from fewstep.three_d.render.raster import render
from tests.three_d.solids import box, tint


def cut(rows=50, columns=80, at=(10, 20), size=(20, 40), colour=(200, 100, 50)):
    image = np.zeros((rows, columns, 4), np.uint8)
    image[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] = *colour, 255
    return image


def on(background, image):
    """The same without transparency."""
    return np.where(image[..., 3:] > 0, image[..., :3], np.array(background, np.uint8))


def test_the_object_is_in_the_middle_and_of_one_size():
    for image in (cut(), cut(200, 300, (0, 0), (100, 200)), cut(20, 20, (3, 4), (5, 10))):
        got = read(image, size=64)
        rows, columns = np.nonzero(got[..., 3] > 0.5)
        assert np.ptp(columns) + 1 == pytest.approx(FRAMED * 64, abs=1)
        assert np.ptp(rows) + 1 == pytest.approx(FRAMED * 32, abs=1)
        assert rows.mean() == pytest.approx(31.5, abs=1)
        assert columns.mean() == pytest.approx(31.5, abs=1)
        assert np.abs(got[32, 32, :3] * 255 - [200, 100, 50]).max() < 2
        assert not got[got[..., 3] == 0].any()


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (30, 160, 60)])
def test_a_plain_background_is_taken_away(background):
    got, expected = read(on(background, cut()), size=64), read(cut(), size=64)
    assert np.abs(got - expected).max() < 0.02


def test_noise_and_a_few_marks_on_the_background_do_not_matter():
    image = on((240, 240, 240), cut(200, 200, (60, 40), (60, 120))).astype(int)
    image += np.random.default_rng(0).integers(-6, 7, image.shape)
    image[0, :10] = 0
    got = read(image.clip(0, 255).astype(np.uint8), size=64)
    expected = read(cut(200, 200, (60, 40), (60, 120)), size=64)
    assert (np.abs(got[..., 3] - expected[..., 3]) > 0.5).mean() < 0.15


def test_holes_through_which_the_background_is_seen():
    image = cut()
    image[16:22, 30:40] = 0
    got = read(on((255, 255, 255), image), size=64)
    assert got[32, 28, 3] == 0
    assert np.abs(got - read(image, size=64)).max() < 0.02


def test_colours_do_not_bleed_from_under_the_transparency():
    image = cut()
    image[image[..., 3] == 0, :3] = 255  # white, but not seen
    assert np.abs(read(image, size=24) - read(cut(), size=24)).max() < 1e-6


def test_kinds_of_pictures_agree(tmp_path):
    image = cut()
    expected = read(image, size=32)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image).save(tmp_path / "a.webp", lossless=True, exact=True)
    for given in (tmp_path / "a.png", str(tmp_path / "a.webp"), Image.fromarray(image), image / np.float32(255)):
        assert np.abs(read(given, size=32) - expected).max() < 1e-6
    gray = on((255, 255, 255), cut(colour=(90, 90, 90)))[..., 0]
    assert read(gray, size=32)[16, 16, :3] == pytest.approx([90 / 255] * 3, abs=0.01)


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = on((255, 255, 255), cut())
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a.png", exif=exif)
    got, expected = read(tmp_path / "a.png", size=32), read(upright, size=32)
    assert np.abs(got - expected).max() < 0.02


def test_our_own_renders_come_back_much_the_same():
    from fewstep.three_d.mesh.isosurface import isosurface

    mesh = isosurface(box((0.45, 0.3, 0.2)), tint())
    drawn = render(mesh, azimuth=25, elevation=15, size=64)
    got = read(drawn, size=64)
    assert ((got[..., 3] > 0.5) != (drawn[..., 3] > 127)).mean() < 0.08


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 4), np.uint8), "transparent throughout"),
        (np.full((8, 8, 3), 90, np.uint8), "nothing stands out from the background"),
        (np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8), "no transparency and no plain background"),
        (np.zeros((8, 8, 2), np.uint8), r"rows, columns, 3 or 4\], got \[8, 8, 2\]"),
        (np.zeros((0, 8, 3), np.uint8), r"got \[0, 8, 3\]"),
        (np.zeros((8, 8, 3), np.int64), "uint8, or of floats from 0 to 1, got int64"),
        (np.full((8, 8, 3), 3.0), "floats from 0 to 1"),
        (np.full((8, 8, 3), np.nan), "floats from 0 to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(image, message):
    with pytest.raises(UsageError, match=message):
        read(image, size=16)


def test_files_that_are_no_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="cannot be read as a picture"):
        read(tmp_path / "a.png", size=16)
    with pytest.raises(UsageError, match="there is no such picture"):
        read(tmp_path / "b.png", size=16)
