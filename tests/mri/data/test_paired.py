"""Pairs: the slice and its scan are in one unit, differ from pair to pair, and crops turn both in the same way."""

import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.mri.data.paired import PairedData, draw
from fewstep.mri.data.scans import FileScans, Simulated, SimulatedScans, as_item, undersampled
from fewstep.mri.data.synthetic import SyntheticSlices
from fewstep.mri.models.condition import CHANNELS, condition
from fewstep.mri.physics.birdcage import birdcage
from fewstep.mri.physics.masks import equispaced

from ..files import SLICES as SLICES_OF_FILE
from ..files import kspace, write_fastmri

SLICES = SyntheticSlices(size=48, share_heads=0)


def test_a_pair_is_a_function_of_its_index_and_settings_vary():
    pairs = [draw(SLICES, i) for i in range(12)]
    assert torch.equal(draw(SLICES, 4).x0, pairs[4].x0)
    assert len({p.one.problem.kspace.shape[1] for p in pairs}) > 2
    assert max(p.one.problem.acceleration for p in pairs) > 1.8 * min(p.one.problem.acceleration for p in pairs)
    for pair in pairs:  # the true slice explains the data up to noise and the errors of the believed maps
        assert float(pair.one.problem.residual(pair.x0)) < 0.4
        assert condition(pair.one).shape == (1, CHANNELS, 48, 48)


def test_crops_turn_slice_and_condition_alike(tmp_path):
    options = {"slice_size": 48, "share_heads": 0.0, "batches": 4, "batch_size": 4, "count": 3, "count_held_out": 2}
    data = PairedData(folder=str(tmp_path), crops=(24,), shares=(1.0,), **options)
    data.prepare_data()
    for batch in data.train_dataloader():
        assert batch["x0"].shape == (4, 24, 24)
        assert batch["cond"].shape == (4, CHANNELS, 24, 24)
        sense = torch.complex(batch["cond"][:, 0], batch["cond"][:, 1])
        likeness = (sense.conj() * batch["x0"]).sum((1, 2))
        size = sense.abs().square().sum((1, 2)).sqrt() * batch["x0"].abs().square().sum((1, 2)).sqrt()
        assert bool((likeness.real > 0.5 * size).all())
    assert next(iter(data.val_dataloader()))["cond"].shape == (2, CHANNELS, 48, 48)


def test_items_of_scans_are_one_problem_each():
    scans = Simulated(SLICES, 5)
    item = scans[(1, 2)]
    assert torch.equal(item["x0"], as_item(draw(SLICES, 7))["x0"])
    assert item["mask"].shape == item["x0"].shape == item["kspace"].shape[1:]
    assert not bool(item["kspace"][:, ~item["mask"]].any())
    batch = next(iter(SimulatedScans(count=2, slice_size=48, share_heads=0.0).val_dataloader()))
    assert batch["coil_maps"].ndim == 4


def test_a_fully_sampled_scan_is_undersampled_and_its_target_has_all_data():
    image = SLICES[1]
    kspace = torch.fft.fftshift(
        torch.fft.fft2(torch.fft.ifftshift(birdcage(4, (48, 48)) * image, dim=(-2, -1)), norm="ortho"), dim=(-2, -1)
    )
    mask = equispaced((48, 48), acceleration=2, centre_fraction=0.3, seed=0)
    pair = undersampled(kspace[None], mask)
    nmse = (pair.x0.abs() * abs(pair.one.scale) - image.abs()).square().sum() / image.abs().square().sum()
    assert float(nmse) < 0.02
    assert float(pair.one.problem.residual(pair.x0)) < 0.1


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: PairedData(crops=(64,), shares=(0.5, 0.5)), "as many crops as shares"),
        (lambda: FileScans("x", accelerations=(4,)), "as many centre_fractions"),
        (lambda: FileScans("surely/no/such/folder").setup(), "found none"),
    ],
)
def test_bad_options_are_refused(make, says):
    with pytest.raises(UsageError, match=says):
        make()


def test_files_are_undersampled_anew_in_each_epoch(tmp_path):
    pytest.importorskip("h5py")
    pytest.importorskip("ismrmrd")
    write_fastmri(tmp_path / "scan.h5")
    data = FileScans(str(tmp_path), kinds=("random",), accelerations=(2,), centre_fractions=(0.3,))
    data.setup()
    loader = data.train_dataloader()
    first, second = list(loader), list(loader)
    assert len(first) == len(second) == SLICES_OF_FILE
    assert {tuple(item["x0"].shape) for item in first} == {tuple(first[0]["mask"].shape)}
    assert any(not torch.equal(a["mask"], b["mask"]) for a, b in zip(first, second, strict=True))
    assert all(float(item["mask"].float().mean()) < 0.8 for item in first)
    assert next(iter(data.val_dataloader()))["kspace"].is_complex()


def test_undersampled_files_are_no_training_data(tmp_path):
    pytest.importorskip("h5py")
    pytest.importorskip("ismrmrd")
    full = kspace()
    full[..., 1::2] = 0
    write_fastmri(tmp_path / "scan.h5", data=full)
    data = FileScans(str(tmp_path))
    data.setup()
    with pytest.raises(UsageError, match="expected a fully sampled scan"):
        data.train_dataloader()
