"""`Restorer`: every kind and size of picture, seeds, tiles, crops, fidelity, masks, agreement with the input."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.core import paths
from fewstep.core.errors import UsageError
from fewstep.restoration import Restorer, run
from fewstep.restoration.degrade.imresize import imresize
from fewstep.restoration.model import Restoration
from fewstep.restoration.picture import Picture
from fewstep.restoration.project import ROUNDS, back_projected, padded
from fewstep.restoration.run import How

TASKS = [("sr", 4), ("sr", 3), ("sr", 2), ("denoise", 1), ("deblur", 1), ("inpaint", 1)]


def restorer(task="sr", scale=4, **options):
    return Restorer(Restoration.debug(task, scale), **options)


def picture(rows=24, columns=28, channels=3, dtype=np.uint8, seed=0):
    """Smooth with edges, so that nets and back-projection have something to keep."""
    y, x = np.mgrid[:rows, :columns]
    waves = [np.sin(x / (3 + c) + seed) * np.cos(y / (4 - c)) for c in range(channels)]
    values = np.stack(waves, -1) * 0.4 + 0.5
    values[rows // 3 : rows // 2, columns // 3 :] *= 0.5
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def hole(rows=24, columns=28):
    mask = np.zeros((rows, columns), bool)
    mask[5:12, 7:15] = True
    return mask


def extra(task, rows=24, columns=28):
    return {"mask": hole(rows, columns)} if task == "inpaint" else {}


@pytest.mark.parametrize(
    "kind", ["pil", "u8", "u16", "f32", "f64", "f16", "gray", "chw", "nchw", "bytes", "picture", "i16"]
)
def test_the_kind_that_goes_in_comes_out(kind):
    values = picture(9, 11)
    image = {
        "pil": lambda: Image.fromarray(values),
        "u8": lambda: values,
        "u16": lambda: picture(9, 11, dtype=np.uint16),
        "f32": lambda: picture(9, 11, dtype=np.float32),
        "f64": lambda: picture(9, 11, dtype=np.float64),
        "f16": lambda: picture(9, 11, dtype=np.float16),
        "gray": lambda: values[:, :, 0],
        "chw": lambda: torch.from_numpy(picture(9, 11, dtype=np.float32)).permute(2, 0, 1),
        "nchw": lambda: torch.from_numpy(picture(9, 11, dtype=np.float32)).permute(2, 0, 1)[None].bfloat16(),
        "bytes": lambda: torch.from_numpy(values).permute(2, 0, 1),
        "picture": lambda: Picture(values, exif=b"kept"),
        "i16": lambda: Image.fromarray(picture(9, 11, 1, np.uint16)[:, :, 0]),
    }[kind]()
    out = restorer()(image)
    assert type(out) is type(image)
    if kind in ("pil", "i16"):
        assert (out.mode, out.size) == (image.mode, (44, 36))
    elif kind == "picture":
        assert (out.size, out.exif) == ((36, 44), b"kept")
    elif "chw" in kind or kind == "bytes":
        assert (out.dtype, tuple(out.shape)) == (image.dtype, (*image.shape[:-2], 36, 44))
    else:
        assert (out.dtype, out.shape) == (image.dtype, (36, 44, *image.shape[2:]))
    reference = np.asarray(restorer()(values), np.float64) / 255
    if kind in ("pil", "u16", "f32", "f64", "picture"):
        got = out.pixels if kind == "picture" else np.asarray(out)
        top = np.iinfo(got.dtype).max if got.dtype.kind == "u" else 1
        assert np.abs(got / top - reference).max() < 0.006


def test_what_pillow_knows_of_a_picture_is_kept(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(9, 11)).save(tmp_path / "a.jpg", exif=exif, icc_profile=b"profile", dpi=(72, 72))
    with Image.open(tmp_path / "a.jpg") as image:
        out = restorer()(image)  # not turned, as it came
    assert out.size == (44, 36)
    assert out.getexif()[0x0112] == 6
    assert out.info["icc_profile"] == b"profile"
    cmyk = Image.new("CMYK", (4, 4))
    cmyk.info["icc_profile"] = b"broken"
    assert "icc_profile" not in restorer()(cmyk).info


@pytest.mark.parametrize("task, scale", TASKS)
@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 7), (5, 3), (33, 2)])
def test_any_size(task, scale, rows, columns):
    image = picture(rows, columns)
    mask = np.zeros((rows, columns), bool)
    mask[0, 0] = True
    options = {"mask": mask} if task == "inpaint" and rows * columns > 1 else {}
    if task == "inpaint" and not options:
        options = {"mask": ~mask}
    for more in ({}, {"steps": 2}):
        out = restorer(task, scale)(image, **options, **more)
        assert out.shape == (rows * scale, columns * scale, 3)
        assert np.abs(out[::scale, ::scale].astype(int) - image).mean() < 90


def test_a_very_long_picture():
    out = restorer("denoise", 1)(picture(10, 30_000, 1)[:, :, 0])
    assert out.shape == (10, 30_000)


@pytest.mark.parametrize("task, scale", TASKS)
@pytest.mark.parametrize("options", [{}, {"steps": 3}, {"steps": 1}, {"steps": 2, "fidelity": 0.5}])
def test_tiles_do_not_show(task, scale, options):
    rows, columns = (20, 26) if scale > 1 else (50, 70)
    model, image = restorer(task, scale), picture(rows, columns, dtype=np.float32)
    extras = extra(task, rows, columns)
    whole = model(image, tile=0, **options, **extras)
    for tile in (32, 50):
        assert np.abs(model(image, tile=tile, **options, **extras) - whole).max() < 2e-5


@pytest.mark.parametrize("task, scale", [("sr", 4), ("sr", 2), ("denoise", 1)])
def test_a_crop_is_restored_as_in_the_whole(task, scale):
    """With the surroundings that count; deblurring's vector is of the whole picture, so it is not local."""
    model, image, steps = restorer(task, scale), picture(160, 90, dtype=np.float32), 2
    around = -(-(steps * model.model.margin + 5 * scale * ROUNDS) // scale) // 4 * 4 + 4
    whole = model(image, steps=steps, seed=5)
    top = 8
    crop = model(image[top:], steps=steps, seed=5, origin=(top, 0))
    same = slice(around * scale, None)
    assert around + top < 150
    assert np.abs(crop[same] - whole[top * scale :][same]).max() < 2e-5
    other = model(image[top:], steps=steps, seed=5)
    assert np.abs(other[same] - whole[top * scale :][same]).max() > 1e-3


def test_blocks_do_not_show(monkeypatch):
    model, image = restorer("denoise", 1), picture(130, 70, dtype=np.float32)
    whole = model(image, steps=2)
    monkeypatch.setattr(run, "WHOLE", 100)
    monkeypatch.setattr(run, "BLOCK", 0)
    monkeypatch.setattr(run, "SMALLEST", 32)
    assert np.abs(model(image, steps=2) - whole).max() < 2e-5


def test_seeds_and_batches():
    model = restorer(seed=3)
    batch = torch.from_numpy(np.stack([picture(dtype=np.float32, seed=s) for s in range(2)])).permute(0, 3, 1, 2)
    both = model(batch, steps=2)
    assert torch.equal(both[1], model(batch[1], steps=2, seed=3))
    assert not torch.equal(both[1], model(batch[1], steps=2, seed=4))
    assert torch.equal(model(batch[0]), model(batch[0], seed=9))  # the mean has no noise


def energy(x):
    return float(np.square(np.diff(x, 2, 0)).mean() + np.square(np.diff(x, 2, 1)).mean())


def test_fidelity_goes_from_the_sample_to_the_mean():
    model, image = restorer(), picture(dtype=np.float32)
    made = [model(image, fidelity=f, steps=None if f == 1 else 4) for f in (0, 0.25, 0.5, 0.75, 1)]
    assert np.array_equal(made[0], model(image, mode="sample"))
    assert np.array_equal(made[-1], model(image, mode="mean"))
    energies = [energy(x) for x in made]
    assert energies == sorted(energies, reverse=True)
    assert energies[0] > 1.05 * energies[-1]
    assert model.restore(image, fidelity=0.5, steps=3).nfe == 4
    assert model.restore(image).nfe == 1
    assert model.restore(image, steps=1).nfe == 1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("options", [{}, {"steps": 4}])
def test_super_resolution_agrees_with_its_input(scale, options):
    def consistency(out):
        x = torch.from_numpy(out.astype(np.float32)).permute(2, 0, 1)[None] / 255
        lq = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255
        return -10 * float(torch.log10((imresize(x, 1 / scale) - lq).square().mean()))

    image = picture(25, 30)
    agreeing = consistency(restorer("sr", scale)(image, **options))
    assert agreeing > 52
    assert agreeing > consistency(restorer("sr", scale)(image, consistent=False, **options)) + 3


def test_back_projection_leaves_what_agrees():
    x = torch.from_numpy(picture(32, 32, dtype=np.float32)).permute(2, 0, 1)[None] * 2 - 1
    lq = imresize(x, 0.25)
    assert float((back_projected(x, lq, 4) - x).abs().max()) < 1e-5


def test_inpainting_keeps_what_is_known():
    model, image = restorer("inpaint", 1), picture()
    changed = image.copy()
    changed[hole()] = 255 - changed[hole()]
    for mask in (hole(), Image.fromarray(hole()), (hole() * 255).astype(np.uint8), torch.from_numpy(hole())):
        out = model(image, mask=mask)
        assert np.array_equal(out[~hole()], image[~hole()])
        assert np.array_equal(out, model(changed, mask=mask))  # what is hidden does not matter
    assert np.array_equal(model(image, mask=hole(), steps=2)[~hole()], image[~hole()])


def test_masks_that_make_no_sense():
    model, image = restorer("inpaint", 1), picture()
    with pytest.raises(UsageError, match="mask is 27 x 24 pixels, the picture 28 x 24"):
        model(image, mask=hole()[:, 1:])
    with pytest.raises(UsageError, match="white throughout"):
        model(image, mask=np.ones((24, 28), bool))
    made = model.restore(image, mask=np.zeros((24, 28), bool), samples=2)
    assert np.array_equal(made.image, image)
    assert "black throughout" in made.warnings[0]
    assert model.uncertainty(image, 2, mask=np.zeros((24, 28), bool)).max() == 0
    with pytest.raises(UsageError, match="inpainting needs a mask"):
        model(image)
    with pytest.raises(UsageError, match="a mask is for inpainting"):
        restorer()(image, mask=hole())
    with pytest.raises(UsageError, match="expected one mask, got 2"):
        model(image, mask=torch.zeros(2, 1, 24, 28))


def test_transparency():
    image = np.dstack([picture(), np.full((24, 28), 255, np.uint8)])
    image[:, :14, 3] = 0
    model = restorer()
    out = model(image)
    assert out.shape == (96, 112, 4)
    assert out[:, :40, 3].max() < 60
    assert out[:, -40:, 3].min() > 195
    hidden = image.copy()
    hidden[:, :14, :3] = 255
    assert np.array_equal(model(hidden), out)  # what is not seen does not matter
    assert np.array_equal(model(np.dstack([picture(), np.full((24, 28), 7, np.uint8)]))[:, :, 3], np.full((96, 112), 7))
    kept = restorer("denoise", 1)(image)
    assert np.array_equal(kept[:, :, 3], image[:, :, 3])
    gray = Image.fromarray(image[:, :, [0, 3]])
    assert model(gray).mode == "LA"


def test_draws_and_uncertainty():
    model, image = restorer(), picture(dtype=np.float32)
    drawn = model.draw(image, 3, steps=2)
    assert len(drawn.samples) == 3
    assert drawn.nfe == 6
    assert np.array_equal(drawn.samples[0], model(image, steps=2))
    assert not np.array_equal(drawn.samples[0], drawn.samples[1])
    assert np.abs(drawn.mean - np.mean(drawn.samples, 0)).max() < 1e-6
    assert np.abs(drawn.std - np.sqrt(np.var(drawn.samples, 0, ddof=1).mean(2))).max() < 1e-5
    assert np.abs(model.uncertainty(image, 3, steps=2) - drawn.std).max() < 1e-3
    assert np.abs(model(image, steps=2, samples=3) - drawn.mean).max() < 1e-5
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    assert isinstance(model.uncertainty(tensor, 2), torch.Tensor)
    with pytest.raises(UsageError, match="at least 2 samples"):
        model.draw(image, 1)
    with pytest.raises(UsageError, match="samples are for mode 'sample'"):
        model.draw(image, 2, fidelity=1.0)
    with pytest.raises(UsageError, match="got a batch of 2"):
        model.draw(torch.stack([tensor, tensor]), 2)
    with pytest.raises(UsageError, match="no such option: step"):
        model.draw(image, 2, step=3)


@pytest.mark.parametrize(
    "image, match",
    [
        (np.full((4, 4, 3), np.nan), "not finite"),
        (np.full((4, 4), np.inf), "not finite"),
        (np.full((4, 4, 3), 255.0), "divide by the value of white"),
        (np.zeros((4, 4, 5), np.uint8), "1 to 4"),
        (np.zeros((0, 4, 3), np.uint8), "1 to 4"),
        (np.zeros((4, 4, 3), np.int32), "uint8, uint16 or floats"),
        (torch.zeros(4, 4), "1 to 4, rows, columns"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8 or floats"),
        ("a.png", "expected a Pillow image, an array or a tensor, got str"),
        (Image.new("F", (4, 4)), "no known range"),
    ],
)
def test_what_is_no_picture(image, match):
    with pytest.raises(UsageError, match=match):
        restorer()(image)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"mode": "best"}, "mode is one of"),
        ({"mode": "mean", "steps": 4}, "the mean takes one call"),
        ({"mode": "mean", "fidelity": 0.5}, "mode mean is fidelity 1"),
        ({"fidelity": 1.5}, "fidelity from 0 to 1"),
        ({"steps": 0}, "steps and samples of at least 1"),
        ({"samples": 0}, "samples is at least 1"),
        ({"seed": -1}, "a seed of at least 0"),
        ({"tile": -1}, "tile is 'auto', 0 or"),
        ({"origin": (-1, 0)}, "an origin and a tile of at least 0"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(UsageError, match=match):
        restorer()(picture(), **options)


def test_a_tile_below_zero_and_a_regressor_that_is_asked_for_samples():
    from dataclasses import replace

    with pytest.raises(UsageError, match="an origin and a tile of at least 0"):
        How(tile=-1)
    model = replace(Restoration.debug(), method="regression")
    with pytest.raises(UsageError, match="knows the mean only"):
        Restorer(model)(picture(), steps=2)


def test_the_grid_is_the_trained_one_and_ends_at_its_smallest_noise():
    model = Restoration.debug()
    assert run.grid(model, 4).tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert run.grid(model, 2).tolist() == pytest.approx([1, 0.25, 0])
    assert run.grid(model, 1).tolist() == [1, 0]
    assert run.grid(model, 15)[-2:].tolist() == pytest.approx([0.25, 0])
    from dataclasses import replace

    assert run.grid(replace(model, path=paths.ir_sde()), 4).tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_padding():
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert padded(x, 1) is x
    assert padded(x, 4).shape[-2:] == (4, 4)
    assert padded(x, 4)[0, 0, 0].tolist() == [0, 1, 2, 1]  # mirrored
    assert padded(x, 4)[0, 0, :, 0].tolist() == [0, 3, 3, 3]  # repeated: two rows cannot be mirrored twice


def test_the_mean_is_computed_once_for_all_steps_and_samples(monkeypatch):
    model, image = restorer("denoise", 1), picture(80, 80)
    regressor, calls = model.model.net.regressor, []
    plain = regressor.both
    monkeypatch.setattr(regressor, "both", lambda *a: calls.append(1) or plain(*a), raising=False)
    made = [model(image, steps=3, samples=2, tile=tile) for tile in (0, 40)]
    assert len(calls) == 1 + 4
    monkeypatch.setattr(run, "REMEMBERED", 0)
    calls.clear()
    again = [model(image, steps=3, samples=2, tile=tile) for tile in (0, 40)]
    assert len(calls) == 6 * (1 + 4)
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))


def test_progress_ends_at_one_and_never_falls():
    seen = []
    restorer()(picture(50, 70), steps=3, tile=64, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    assert len(seen) > 10


@pytest.mark.parametrize("eta", [-0.1, 1.5, "half", {}, {"four": 0.5}, {4: 2}])
def test_a_config_with_a_wrong_eta(eta):
    model = replace(Restoration.debug("sr", 4), config={"eta": eta})
    with pytest.raises(UsageError, match=r"config.yaml: expected eta in \[0, 1\], or"):
        Restorer(model)(picture(), steps=2)


def test_eta_of_the_config_is_taken_and_tiles_do_not_show():
    model = replace(Restoration.debug("sr", 4), config={"eta": 0.5})
    made = [Restorer(model, seed=1)(picture(40, 40), steps=3, tile=tile).astype(int) for tile in (0, 64)]
    assert abs(made[0] - made[1]).max() <= 1
    posterior = Restorer(Restoration.debug("sr", 4), seed=1)(picture(40, 40), steps=3).astype(int)
    assert abs(made[0] - posterior).max() > 1


def test_long_chains_start_at_first_sigma_and_go_evenly():
    model = replace(Restoration.debug("sr", 4), config={"first_sigma": 1.9})
    assert torch.equal(run.grid(model, 4), run.grid(Restoration.debug("sr", 4), 4))  # as it was made for
    a, _, s = model.path.coefficients(run.grid(model, 15))
    sigma = s / a
    assert len(sigma) == 16
    assert sigma[-1] == 0
    assert float(sigma[1]) == pytest.approx(1.9)
    falls = sigma[2:-1] / sigma[1:-2]
    torch.testing.assert_close(falls, falls[:1].expand_as(falls))
    assert float(sigma[-2]) == pytest.approx(float(torch.exp(-model.path.lam(model.path.t_min))), rel=1e-5)


@pytest.mark.parametrize("first", [0.0, -1, 1e9, "far"])
def test_a_config_with_a_wrong_first_sigma(first):
    model = replace(Restoration.debug("sr", 4), config={"first_sigma": first})
    with pytest.raises(UsageError, match=r"config.yaml: expected first_sigma between"):
        Restorer(model)(picture(), steps=5)


def test_loading():
    with pytest.raises(UsageError, match="no model of kind 'restoration' is called 'none'"):
        Restorer.load("none")
    with pytest.raises(UsageError, match="device nonsense cannot be used here"):
        Restorer.load("none", device="nonsense")
