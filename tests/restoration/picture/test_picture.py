"""Pictures survive reading and writing: pixels, bits, transparency, EXIF, ICC, orientation; bad files are told."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.restoration.picture import Picture, of_pil, read, to_pil, write
from fewstep.restoration.picture.alpha import bled
from fewstep.restoration.picture.exif import HEADER, orientation, texts, upright
from fewstep.restoration.picture.picture import with_bits
from fewstep.restoration.picture.read import decode, turned
from fewstep.restoration.picture.write import suffix_of


def values(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def exif_of(turn=6):
    made = Image.Exif()
    made[0x0112], made[271], made[315] = turn, "A Camera", "Someone"
    made.get_ifd(0x8769)[37386] = 50.0
    return made


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_eight_bits_survive(tmp_path, suffix, channels, alpha):
    if suffix == "bmp" and alpha:
        pytest.skip("BMP has no transparency that is agreed upon")
    picture = Picture(values((5, 7, channels)), values((5, 7), seed=1) if alpha else None)
    if suffix == "webp":
        picture = Picture(np.full((5, 7, channels), 77, np.uint8), np.full((5, 7), 99, np.uint8) if alpha else None)
    assert write(tmp_path / f"a.{suffix}", picture) == []
    back = read(tmp_path / f"a.{suffix}")
    gray_as_rgb = np.broadcast_to(picture.pixels, (5, 7, back.pixels.shape[2]))
    assert np.abs(back.pixels.astype(int) - gray_as_rgb).max() <= (2 if suffix == "webp" else 0)
    assert (back.alpha is not None) == alpha
    if alpha:
        assert np.array_equal(back.alpha, picture.alpha)
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bits_survive_with_profile(tmp_path, suffix, channels, alpha):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture(
        values((6, 9, channels), np.uint16),
        values((6, 9), np.uint16, 1) if alpha else None,
        icc=profile,
        dpi=(300.0, 300.0),
        exif=upright(HEADER + exif_of(1).tobytes().removeprefix(HEADER)),
    )
    write(tmp_path / f"a.{suffix}", picture)
    back = read(tmp_path / f"a.{suffix}")
    assert back.bits == 16
    assert np.array_equal(back.pixels, np.broadcast_to(picture.pixels, back.pixels.shape))
    if alpha:
        assert np.array_equal(back.alpha, picture.alpha)
    assert back.icc == profile
    assert back.dpi == pytest.approx((300, 300), rel=1e-3)
    assert texts(back.exif)[271] == "A Camera"
    write(tmp_path / f"b.{suffix}", picture, strip=True)
    bare = read(tmp_path / f"b.{suffix}")
    assert (bare.exif, bare.icc, bare.dpi) == (None, None, None)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_orientation_is_applied_once_and_then_said_to_be_one(tmp_path, turn, suffix):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255  # one corner white
    image = Image.fromarray(stored)
    file = saved(tmp_path, image, f"a.{suffix}", exif=exif_of(turn))
    picture = read(file)
    expected = turned(stored, turn)
    assert picture.size == expected.shape[:2]
    assert np.abs(picture.pixels.astype(int) - expected).max() < 60
    write(tmp_path / f"b.{suffix}", picture)
    again = read(tmp_path / f"b.{suffix}")
    assert again.size == expected.shape[:2]
    with Image.open(tmp_path / f"b.{suffix}") as written:
        assert written.getexif().get(0x0112, 1) == 1
        if suffix != "tif":
            assert written.getexif()[271] == "A Camera"
            assert float(written.getexif().get_ifd(0x8769)[37386]) == 50


@pytest.mark.parametrize("turn", range(1, 9))
def test_turning_agrees_with_pillow(turn):
    from PIL import ImageOps

    image = Image.fromarray(values((3, 5, 3)))
    image.getexif()[0x0112] = turn
    assert np.array_equal(turned(np.asarray(image), turn), np.asarray(ImageOps.exif_transpose(image)))


def test_exif_changes_in_the_orientation_only():
    exif = exif_of(8).tobytes()
    assert orientation(exif) == 8
    assert orientation(upright(exif)) == 1
    assert sum(a != b for a, b in zip(exif, upright(exif), strict=True)) == 1
    assert orientation(b"Exif\0\0MM\0*\0\0") == 1
    assert orientation(b"Exif\0\0II*\0" + struct.pack("<I", 99)) == 1
    assert upright(None) is None


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (2, 2))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 1])
    picture = read(saved(tmp_path, image, "a.png", transparency=1))
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert picture.alpha.tolist() == [[255, 0], [255, 0]]
    opaque = read(saved(tmp_path, image, "b.gif"))
    assert opaque.alpha is None
    assert suffix_of(opaque.format) == "png"


def test_one_bit_and_gray_alpha(tmp_path):
    bit = read(saved(tmp_path, Image.fromarray(np.eye(9) > 0), "a.png"))
    assert np.array_equal(bit.pixels[:, :, 0], 255 * np.eye(9, dtype=np.uint8))
    gray = read(saved(tmp_path, Image.new("LA", (4, 4), (9, 5)), "b.png"))
    assert gray.pixels.shape == (4, 4, 1)
    assert set(gray.alpha.ravel()) == {5}


@pytest.mark.parametrize("mode, name", [("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("LAB", "a.tif")])
def test_other_colour_spaces_become_srgb_and_it_is_told(tmp_path, mode, name):
    colour = (0, 255, 255, 0) if mode == "CMYK" else (136, 208, 195)  # red, as L, a, b
    picture = read(saved(tmp_path, Image.new(mode, (8, 8), colour), name))
    assert any(f"{mode} was converted" in text for text in picture.warnings)
    red, green, blue = picture.pixels[4, 4].astype(int)
    assert red > 200
    assert max(green, blue) < 60
    assert picture.icc is None


def test_animations_and_documents_are_refused(tmp_path):
    frames = [Image.new("L", (4, 4), c) for c in (0, 255)]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(UsageError, match="it has 2 (frames|pages)"):
            read(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp", "gif"])
def test_cut_files_are_told(tmp_path, suffix):
    file = saved(tmp_path, Image.fromarray(values((64, 64, 3))), f"a.{suffix}")
    content = file.read_bytes()
    for part in (20, len(content) // 2):
        file.write_bytes(content[:part])
        with pytest.raises(UsageError, match="broken or cut off|not a picture"):
            read(file)


def test_cut_deep_files_are_told(tmp_path):
    for suffix in ("png", "tif"):
        write(tmp_path / f"a.{suffix}", Picture(values((64, 64, 3), np.uint16)))
        content = (tmp_path / f"a.{suffix}").read_bytes()
        with pytest.raises(UsageError, match="broken or cut off"):
            decode(content[: len(content) // 2])


def test_what_is_no_picture_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match="a.png: the file is empty"):
        read(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"hello, I am a text")
    with pytest.raises(UsageError, match="not a picture of a kind"):
        read(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.png")


def test_wrong_suffix_is_told_and_read_by_content(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (3, 2)).save(stream, "PNG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue())
    picture = read(tmp_path / "a.jpg")
    assert picture.format == "PNG"
    assert "its content is PNG" in picture.warnings[0]


def test_long_pictures_are_read_and_bombs_refused(tmp_path):
    assert read(saved(tmp_path, Image.new("L", (30000, 10)), "long.png")).size == (10, 30000)
    bomb = bytearray(saved(tmp_path, Image.new("1", (8, 8)), "b.png").read_bytes())
    struct.pack_into(">II", bomb, 16, 60000, 60000)
    import zlib

    struct.pack_into(">I", bomb, 29, zlib.crc32(bytes(bomb[12:29])))
    with pytest.raises(UsageError, match="too large to be a picture"):
        decode(bytes(bomb))


def test_floating_point_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no known range"):
        read(saved(tmp_path, Image.new("F", (3, 3)), "a.tif"))


def test_bits():
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(with_bits(with_bits(np.arange(256, dtype=np.uint8), 16), 8), np.arange(256))
    assert np.abs(with_bits(every, 8) - every / 257).max() <= 0.5
    assert with_bits(every, 16) is every


def test_what_a_format_lacks(tmp_path):
    deep = Picture(values((4, 4, 3), np.uint16), np.zeros((4, 4), np.uint16))
    told = write(tmp_path / "a.jpg", deep)
    assert [text.split(":")[0] for text in told] == ["16 bits became 8", "transparency was laid on white"]
    assert read(tmp_path / "a.jpg").pixels.min() > 250
    with pytest.raises(UsageError, match="JPEG has no 16 bits"):
        write(tmp_path / "b.jpg", deep, bits=16)
    with pytest.raises(UsageError, match="expected a name that ends in"):
        write(tmp_path / "b.xyz", deep)
    with pytest.raises(UsageError, match="opaque gray only"):
        to_pil(deep)
    assert read_bits(tmp_path, deep, 8) == 8
    assert read_bits(tmp_path, Picture(values((4, 4, 3))), 16) == 16


def read_bits(tmp_path, picture, bits):
    write(tmp_path / "bits.png", picture, bits=bits)
    return read(tmp_path / "bits.png").bits


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def half():
        with replacing(tmp_path / "a.png") as temporary:
            temporary.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        half()
    assert list(tmp_path.iterdir()) == []


def test_hidden_colours_do_not_bleed():
    pixels = np.zeros((3, 5, 3), np.uint8)
    alpha = np.zeros((3, 5), np.uint8)
    pixels[:, 4], alpha[:, 4] = 200, 255
    assert bled(pixels, alpha).min() == 200
    assert bled(pixels, np.zeros_like(alpha)) is pixels
    assert bled(pixels, np.full_like(alpha, 3)) is pixels


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "YCbCr", "HSV", "CMYK", "I;16", "PA", "La", "RGBa"]
)
def test_every_mode_of_pillow(mode):
    picture = of_pil(Image.new(mode, (4, 3)))
    assert picture.size == (3, 4)
    assert picture.pixels.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    assert to_pil(picture).size == (4, 3)
