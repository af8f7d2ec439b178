"""Generated slices are functions of (seed, index), in the unit that the priors expect; stores are whole and reused."""

import json

import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.mri.data import crops, fields, heads, shapes, synthetic
from fewstep.mri.data.synthetic import SyntheticSlices, store


def test_a_slice_is_a_function_of_seed_and_index():
    one, two = SyntheticSlices(size=48, share_heads=0), SyntheticSlices(size=48, share_heads=0)
    state = torch.get_rng_state()
    last = one[5]
    assert torch.equal(two[3], one[3])
    assert torch.equal(last, two[5])
    assert not torch.equal(one[3], one[4])
    assert not torch.equal(SyntheticSlices(size=48, seed=1, share_heads=0)[3], one[3])
    assert torch.equal(torch.get_rng_state(), state)


def test_slices_are_complex_and_of_the_size_that_priors_expect():
    slices = [SyntheticSlices(size=64, share_heads=0)[i] for i in range(24)]
    sizes = [float(torch.quantile(x.abs().flatten(), 0.995)) for x in slices]
    assert all(x.dtype == torch.complex64 and x.shape == (64, 64) for x in slices)
    assert all(0.6 < size < 1.25 for size in sizes)
    assert sum(float(x.imag.abs().mean() / x.abs().mean()) > 0.1 for x in slices) > 12  # most have a phase


def test_heads_from_an_atlas():
    """A ball of grey around white matter: brain inside, shells outside, nothing far away."""
    z, y, x = np.mgrid[-50:50, -50:50, -50:50].astype(np.float32)
    radius = np.sqrt(x * x + y * y + z * z)
    white, brain = (radius < 28).astype(np.float32), (radius < 40).astype(np.float32)
    detail, outside = np.zeros_like(white), np.maximum(radius - 40, 0)
    atlas = heads.Atlas(brain - white, white, brain, detail, outside)
    pictures = [heads.draw(np.random.default_rng(seed), 96, atlas) for seed in range(8)]
    assert np.array_equal(pictures[3], heads.draw(np.random.default_rng(3), 96, atlas))
    assert all(np.isfinite(picture).all() and picture.min() >= 0 for picture in pictures)
    assert sum(picture[24:72, 24:72].mean() > picture[[0, -1]].mean() + 0.01 for picture in pictures) >= 3
    with pytest.raises(UsageError, match="at least 32 pixels"):
        heads.draw(np.random.default_rng(0), 16, atlas)


@pytest.mark.parametrize("draw", [shapes.stacked, shapes.voronoi, shapes.tissue])
def test_shapes_fill_their_picture(draw):
    picture = draw(np.random.default_rng(0), 40)
    assert picture.shape == (40, 40)
    assert np.isfinite(picture).all()
    assert picture.std() > 0.01


def test_fields_have_unit_spread():
    field = fields.smooth_field(np.random.default_rng(0), 50, cells=5)
    assert abs(field.mean()) < 1e-4
    assert field.std() == pytest.approx(1, rel=1e-3)
    assert np.abs(np.diff(field, axis=0)).max() < 1


def test_a_store_is_kept_if_it_is_the_same_and_rewritten_if_not(tmp_path):
    file = store(tmp_path, 3, size=32, share_heads=0)
    written = file.stat().st_mtime_ns
    assert np.load(file).shape == (3, 2, 32, 32)
    assert store(tmp_path, 3, size=32, share_heads=0).stat().st_mtime_ns == written
    store(tmp_path, 4, size=32, share_heads=0)
    assert len(np.load(file)) == 4
    assert json.loads((tmp_path / synthetic.FACTS).read_text())["count"] == 4
    assert sorted(f.name for f in tmp_path.iterdir()) == [synthetic.FACTS, synthetic.SLICES]
    stored = crops.as_complex(np.load(file)[2])
    torch.testing.assert_close(stored, SyntheticSlices(size=32, share_heads=0)[2], atol=2e-3, rtol=1e-2)


def test_batches_of_crops(tmp_path):
    options = {"count": 3, "count_held_out": 2, "slice_size": 32, "share_heads": 0.0, "batches": 6, "batch_size": 8}
    data = crops.PriorData(folder=str(tmp_path), crops=(8, 16), shares=(0.5, 0.5), **options)
    data.prepare_data()
    loader = data.train_dataloader()
    batches = [batch["x0"] for batch in loader]
    assert {tuple(b.shape) for b in batches} == {(8, 8, 8), (2, 16, 16)}  # equal numbers of pixels
    assert all(torch.equal(a, b["x0"]) for a, b in zip(batches, data.train_dataloader(), strict=True))
    assert not torch.equal(next(iter(loader))["x0"].flatten()[:64], batches[0].flatten()[:64])  # the next epoch
    assert next(iter(data.val_dataloader()))["x0"].shape == (2, 32, 32)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: SyntheticSlices(size=8), "size >= 32"),
        (lambda: store("nowhere", 0), "at least one slice"),
        (lambda: crops.PriorData(crops=(64,), shares=(0.5, 0.5)), "as many crops as shares"),
        (lambda: crops.PriorData(slice_size=32), "none above 32"),
    ],
)
def test_bad_options_are_refused(make, says):
    with pytest.raises(UsageError, match=says):
        make()
