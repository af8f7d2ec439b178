import numpy as np
import pytest
import torch
import trimesh

from fewstep.core.errors import UsageError
from fewstep.three_d.corpus import make
from fewstep.three_d.data import shapes, store
from fewstep.three_d.data.shapes import Batches, Shapes, encoded, occupancy, padded, part, values
from fewstep.three_d.data.store import Plan, stored
from fewstep.three_d.lattice import Lattice
from fewstep.three_d.pretrained import autoencoder
from fewstep.three_d.text import encode

PLAN = Plan(shapes=6, samples=18, block=3, captions=3, views=2, picture=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(folder):
    return stored(folder, PLAN)


def test_stored_shapes_are_the_solids(data):
    lattice = Lattice(18, 3)
    for i in range(6):
        truth, found = lattice.take(make(i, seed=0)), data.cells(i)
        np.testing.assert_array_equal(found.coords, truth.coords)
        np.testing.assert_allclose(found.sdf, truth.sdf, atol=0.5 / 127 + 1e-6)
        np.testing.assert_allclose(found.colour, truth.colour, atol=0.5 / 255 + 1e-6)
        np.testing.assert_array_equal(data.words[i, 0], encode(make(i, seed=0).caption()).ids)
    assert data.pictures.shape == (6, 2, 32, 32, 4)
    assert (data.pictures[..., 3].reshape(6, 2, -1).max(2) == 255).all()


def test_a_stopped_run_makes_what_is_missing_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 2)
    first = stored(tmp_path, PLAN)
    files = sorted((tmp_path / PLAN.key).glob("*.safetensors"))
    assert len(files) == 3
    files[1].unlink()
    kept = files[0].stat().st_mtime_ns
    again = stored(tmp_path, PLAN)
    assert files[0].stat().st_mtime_ns == kept
    np.testing.assert_array_equal(first.sdf, again.sdf)
    np.testing.assert_array_equal(first.pictures, again.pictures)
    np.testing.assert_array_equal(first.starts, again.starts)


def test_more_shapes_of_a_plan_go_on_from_those_there(folder, data):
    assert Plan(shapes=99).key == Plan(shapes=7).key != Plan(seed=1).key


def test_padding_is_told_from_cells(data):
    coords, mask = padded(data, [0, 3, 5])
    np.testing.assert_array_equal(mask.sum(1).numpy(), data.counts[[0, 3, 5]])
    full = values(data, [0, 3, 5], mask)
    assert (full["sdf"][~mask] == 1).all()
    grid = occupancy(data, [0, 3, 5])
    for n in range(3):
        assert int(grid[n].sum()) == int(mask[n].sum())
        assert (grid[n, 0][tuple(coords[n][mask[n]].T)] == 1).all()


@pytest.mark.parametrize("stage", ["structure", "slat"])
def test_latents_are_those_of_each_shape_alone(tiny, data, stage):
    whole = encoded(str(tiny / "vae"), stage, data, batch_size=4)
    alone = encoded(str(tiny / "vae"), stage, part(data, np.array([4])))
    torch.testing.assert_close(whole[4:5] if stage == "structure" else whole[data.rows(4)], alone, atol=1e-5, rtol=0)
    assert autoencoder(tiny / "vae", stage) is not None


@pytest.mark.parametrize("stage", ["structure_vae", "slat_vae", "structure", "slat"])
def test_batches_repeat_and_hold_each_shape_once(tiny, data, stage):
    latents = None if stage.endswith("vae") else encoded(str(tiny / "vae"), stage, data)
    sets = [Batches(data, stage, latents, 2, (0.1, 0.2, 0.6), 0) for _ in range(2)]
    seen = [sets[0]._orders(3), sets[1]._orders(3)]
    assert sorted(np.concatenate(seen[0]).tolist()) == list(range(6))
    for first, second in zip(*seen, strict=True):
        np.testing.assert_array_equal(first, second)
    batches = [one[(3, 1)] for one in sets]
    for a, b in zip(_leaves(batches[0]), _leaves(batches[1]), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(IndexError):
        sets[0][(0, 3)]


def test_what_items_are_told(tiny, data):
    latents = encoded(str(tiny / "vae"), "structure", data)
    told = Batches(data, "structure", latents, 6, (0.0, 0.0, 1.0), 0)[0]
    assert not told["cond"]["image"].any()
    assert told["cond"]["words"].any(1).all()
    seen = Batches(data, "structure", latents, 6, (0.0, 0.0, 0.0), 0)[0]["cond"]
    assert seen["image"].flatten(1).any(1).all()
    assert not seen["words"].any()
    nothing = Batches(data, "structure", latents, 6, (1.0, 0.0, 0.5), 0)[0]
    assert not nothing["cond"]["image"].any()
    assert not nothing["cond"]["words"].any()
    assert not nothing["uncond"]["words"].any()


def test_the_caption_that_tells_all_may_be_told_more_often(tiny, data):
    latents, shares = encoded(str(tiny / "vae"), "structure", data), (0.0, 1.0, 0.0)
    plain, always = (Batches(data, "structure", latents, 6, shares, 0, tells_all=share) for share in (0.0, 1.0))
    items = always._orders(0)[0]
    told = always[0]["cond"]
    assert torch.equal(told["words"], torch.from_numpy(data.words[items, 0].astype(np.int64)))
    assert not torch.equal(plain[0]["cond"]["words"], told["words"])
    assert torch.equal(plain[0]["cond"]["image"], told["image"])  # what else is drawn stays


def test_padded_latents_are_zero_and_masked(tiny, data):
    latents = encoded(str(tiny / "vae"), "slat", data)
    batch = Batches(data, "slat", latents, 6, (0.1, 0.2, 0.6), 0)[0]
    mask = batch["cond"]["mask"]
    assert torch.equal(batch["mask"][..., 0], mask)
    assert not batch["x0"][~mask].any()
    assert torch.equal(batch["uncond"]["coords"], batch["cond"]["coords"])


@pytest.mark.parametrize("stage", ["structure", "slat"])
def test_latents_are_kept_on_disk(tiny, tmp_path, monkeypatch, stage):
    options = {"stage": stage, "vae": str(tiny / "vae"), "cache": str(tmp_path), "shapes": 6, "held_out": 3}
    options |= {"views": 1, "samples": 18, "block": 3, "batch_size": 3, "workers": 1}
    first, second = Shapes(**options), Shapes(**options)
    first.setup("fit")
    monkeypatch.setattr(shapes, "encoded", None)
    second.setup("fit")
    assert torch.equal(first.trained.latents, second.trained.latents)
    assert len(first.held.data) == 3
    assert next(iter(first.train_dataloader()))["x0"].shape[0] == 3


@pytest.mark.parametrize("stage", ["structure_vae", "slat"])
def test_a_folder_of_models_is_trained_on(tiny, tmp_path, stage):
    folder = tmp_path / "models"
    folder.mkdir()
    for i, size in enumerate((0.3, 0.5, 0.7, 0.9)):
        trimesh.creation.box((size, 0.6, 0.4)).export(folder / f"chair_{i}.ply")
    vae = str(tiny / "vae") if stage == "slat" else None
    data = Shapes(
        stage=stage, vae=vae, cache=str(tmp_path / "cache"), meshes=str(folder), views=1, samples=18, block=3,
        batch_size=3, workers=1,
    )  # fmt: skip
    data.prepare_data()
    data.setup("fit")
    assert (len(data.trained.data), len(data.held.data)) == (3, 1)
    assert data.trained[0] is not None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stage": "nothing"}, "expected one of structure_vae"),
        ({"stage": "slat"}, "give vae="),
        ({"stage": "slat_vae", "shapes": 0}, "positive"),
        ({"stage": "slat_vae", "nothing": 0.9, "both": 0.3}, "positive"),
        ({"stage": "slat_vae", "tells_all": 1.5}, r"shares in \[0, 1\].*tells_all=1.5"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Shapes(**options)


def _leaves(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [value]
