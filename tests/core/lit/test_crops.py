import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.core.errors import UsageError
from fewstep.core.lit.crops import Crops, read_pictures


@pytest.fixture
def folder(tmp_path):
    rows, columns = np.mgrid[:40, :60]
    Image.fromarray(np.stack([4 * rows, 4 * columns, rows * 0 + 9], -1).astype(np.uint8)).save(tmp_path / "ramp.png")
    Image.fromarray(np.full((20, 20), 255, np.uint8)).save(tmp_path / "white.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_pictures_are_averaged_over_squares(folder):
    ramp, white = read_pictures(folder, shrink=(2,))
    assert ramp.shape == (3, 20, 30)
    assert white.shape == (3, 10, 10)
    torch.testing.assert_close(ramp[0, :, 0], (4 * (2 * torch.arange(20) + 0.5)) / 127.5 - 1)
    assert float(white.min()) > 0.99


def test_crops_are_pieces_of_the_pictures(folder):
    data = Crops(str(folder), size=16, shrink=(1,), n=64, n_held_out=8, batch_size=8)
    batch = next(iter(data.train_dataloader()))["x0"]
    assert batch.shape == (8, 3, 16, 16)
    ramps = batch[batch[:, 2, 0, 0] < 0]
    steps = (ramps[:, 0, 1:] - ramps[:, 0, :-1]) * 127.5
    torch.testing.assert_close(steps, torch.full_like(steps, 4.0), rtol=0, atol=1e-3)


def test_a_crop_depends_on_seed_and_number_alone(folder):
    one, same, other = (
        Crops(str(folder), size=8, shrink=(1,), n=16, n_held_out=16, batch_size=16, seed=seed) for seed in (0, 0, 5)
    )
    first = next(iter(one.val_dataloader()))["x0"]
    assert torch.equal(first, next(iter(same.val_dataloader()))["x0"])
    assert not torch.equal(first, next(iter(other.val_dataloader()))["x0"])
    assert not torch.equal(first, next(iter(one.test_dataloader()))["x0"])


def test_seeds_to_predict(folder):
    batch = next(iter(Crops(str(folder), size=8, n_held_out=5).predict_dataloader()))
    assert batch["seed"].tolist() == [0, 1, 2, 3, 4]
    assert batch["shape"][0].tolist() == [3, 8, 8]


def test_small_pictures_are_left_out(folder):
    assert len(Crops(str(folder), size=32, shrink=(1, 2)).pictures) == 1


def test_a_folder_without_pictures_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="found 2 files with such names and none large enough"):
        _ = Crops(str(folder), size=64).pictures
    with pytest.raises(UsageError, match="found 0 files"):
        read_pictures(tmp_path / "absent")


@pytest.mark.parametrize("options", [{"size": 0}, {"n": 0}, {"shrink": (0,)}])
def test_sizes_are_positive(folder, options):
    with pytest.raises(UsageError, match="positive sizes"):
        Crops(str(folder), **options)
