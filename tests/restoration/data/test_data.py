"""Crops and pairs: what a batch is, and what is refused before training."""

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.core.errors import UsageError
from fewstep.restoration.data.crops import Crops
from fewstep.restoration.data.pairs import Pairs, find_pairs
from fewstep.restoration.data.sources import BSD100, free_pictures, picture_files, read, shrunk
from fewstep.restoration.degrade.imresize import imresize


def _save(file, rows, columns, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (rows // 4 + 1, columns // 4 + 1, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BILINEAR).save(file)


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        _save(tmp_path / "clean" / f"{i:02d}.png", 60, 72, i)
    return tmp_path / "clean"


def test_crops_are_degraded_as_inside_a_picture(folder):
    data = Crops(folder=str(folder), free=False, patch=24, n=6, batch_size=3, shrink=[1.0], held_out=["01"])
    first = next(iter(data.train_dataloader()))
    assert first["x0"].shape == (3, 3, 24, 24)
    assert first["lq"].shape == (3, 3, 6, 6)
    inner = imresize(first["x0"], 0.25)[..., 2:-2, 2:-2]
    assert (inner - first["lq"][..., 2:-2, 2:-2]).abs().max() <= 0.51 / 127.5
    again = next(iter(Crops(folder=str(folder), free=False, patch=24, n=6, batch_size=3, shrink=[1.0],
                            held_out=["01"]).train_dataloader()))  # fmt: skip
    assert torch.equal(first["lq"], again["lq"])
    assert len(data.pictures()) == 2
    assert len(data.pictures(held_out=True)) == 1


def test_holes_come_with_their_mask(folder):
    data = Crops(folder=str(folder), free=False, recipe="inpaint", patch=32, n=4, n_held_out=4, batch_size=4)
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].shape == (4, 1, 32, 32)
    assert (batch["lq"] * batch["mask"] == 0).all()
    assert torch.equal(batch["lq"] * (1 - batch["mask"]), batch["x0"] * (1 - batch["mask"]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patch": 30}, "a multiple of the recipe's scale 4"),
        ({"free": False, "folder": None}, "nothing to train on"),
        ({"held_out": ["99"]}, "no picture called 99"),
        ({"patch": 400, "free": False}, "take a smaller patch"),
    ],
)
def test_what_cannot_be_cropped(folder, options, message):
    with pytest.raises(UsageError, match=message):
        Crops(**{"folder": str(folder), "patch": 24, **options}).pictures()


def test_the_test_set_is_refused(tmp_path):
    assert len(BSD100) == 100
    _save(tmp_path / "3096.jpg", 32, 32)
    with pytest.raises(UsageError, match="BSD100"):
        Crops(folder=str(tmp_path), patch=16, recipe="gauss25").pictures()
    with pytest.raises(UsageError, match="BSD100"):
        find_pairs(tmp_path, tmp_path)


def test_free_pictures_are_there():
    assert all(picture.dtype == torch.uint8 and picture.shape[0] == 3 for picture in free_pictures())
    (small,) = shrunk([torch.full((3, 40, 20), 77, dtype=torch.uint8)], [0.5], least=10)
    assert small.shape == (3, 20, 10)
    assert (small == 77).all()


def test_files_that_are_no_pictures(tmp_path):
    with pytest.raises(UsageError, match="found none"):
        picture_files(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="cannot be read as a picture"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("names", [("input", "target"), ("LQ", "GT"), ("lq", "gt")])
def test_layouts_of_others(tmp_path, names):
    for i in range(2):
        _save(tmp_path / names[0] / f"{i}.png", 24, 32, i)
        _save(tmp_path / names[1] / f"{i}.png", 24, 32, i)
    assert [pair.gt.parent.name for pair in find_pairs(tmp_path)] == [names[1]] * 2


def test_pairs_with_a_suffix_and_a_list(folder, tmp_path):
    for file in folder.iterdir():
        small = imresize(read(file).float(), 0.25).clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
        (tmp_path / "x4").mkdir(exist_ok=True)
        Image.fromarray(small).save(tmp_path / "x4" / f"{file.stem}x4.png")
    data = Pairs(str(folder), lq=str(tmp_path / "x4"), suffix="{}x4", patch=16, n=4, batch_size=2)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["lq"].shape == (2, 3, 4, 4)
    assert (imresize(batch["x0"], 0.25) - batch["lq"]).abs().mean() < 0.05
    (tmp_path / "meta.txt").write_text("00.png (60,72,3)\n")
    listed = find_pairs(folder, tmp_path / "x4", scale=4, suffix="{}x4", listed=tmp_path / "meta.txt")
    assert [pair.gt.name for pair in listed] == ["00.png"]
    with pytest.raises(UsageError, match="have no partner called {}"):
        find_pairs(folder, tmp_path / "x4", scale=4)
    with pytest.raises(UsageError, match="do not differ by the scale 2"):
        find_pairs(folder, tmp_path / "x4", scale=2, suffix="{}x4")
    with pytest.raises(UsageError, match="beside gt=FOLDER"):
        find_pairs(folder)
    with pytest.raises(UsageError, match="two pairs or more of at least 400"):
        Pairs(str(folder), lq=str(tmp_path / "x4"), suffix="{}x4", patch=400).setup("fit")
