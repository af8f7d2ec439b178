import lightning.pytorch as pl
import pytest
import torch

from fewstep.core.distill.reflow import Ends
from fewstep.core.errors import UsageError
from fewstep.core.lit.distill import DistillModule
from fewstep.core.pretrained import Pretrained
from fewstep.three_d.lit.decoded import DecodedCells, DecodedSurfaces
from fewstep.three_d.pretrained import load, packed, unpacked
from tests.three_d.data.test_ends import _data


def _told(batch=2, cells=5):
    coords = torch.stack([torch.randperm(6**3)[:cells] for _ in range(batch)])
    mask = torch.ones(batch, cells, dtype=torch.bool)
    mask[1, -2:] = False
    return {"coords": torch.stack([coords // 36, coords // 6 % 6, coords % 6], 2), "mask": mask}


def test_the_same_cells_are_nearest(tiny):
    torch.manual_seed(0)
    distance = DecodedCells(str(tiny / "vae"))
    target = torch.randn(2, 4, 2, 2, 2)
    least = distance(target, target)
    answer = (target + 0.5 * torch.randn_like(target)).requires_grad_(True)
    far = distance(answer, target)
    assert far.shape == (2,)
    assert (far > least).all()
    far.sum().backward()
    assert answer.grad.abs().sum() > 0
    assert all(value.grad is None for value in distance.net.parameters())


def test_surfaces_are_compared_where_there_are_cells(tiny):
    torch.manual_seed(0)
    distance, cond = DecodedSurfaces(str(tiny / "vae")), _told()
    mask = cond["mask"][:, :, None]
    target = torch.randn(2, 5, 4)
    answer = target + torch.randn_like(target)
    least, far = (distance(one, target, mask=mask, cond=cond) for one in (target, answer))
    torch.testing.assert_close(least, torch.full((2,), 0.5 * 1e-3**0.5))
    assert (far > least).all()
    elsewhere = torch.where(mask, answer, torch.full_like(answer, 7.0))
    torch.testing.assert_close(distance(elsewhere, target, mask=mask, cond=cond), far)
    with pytest.raises(UsageError, match="need the cells"):
        distance(answer, target, mask=mask)


@pytest.mark.filterwarnings("ignore:.*eval mode.*")
@pytest.mark.parametrize(("stage", "distance"), [("structure", DecodedCells), ("slat", DecodedSurfaces)])
def test_a_student_comes_nearer_to_the_ends(tiny, tmp_path, stage, distance):
    data = _data(tiny, tmp_path, stage)
    vae = str(tiny / "vae")
    torch.manual_seed(0)
    module = DistillModule(
        teacher=str(tiny / stage), method=Ends(distance=distance(vae)), steps=2, learning_rate=1e-3, save_samples=False
    )
    trainer = pl.Trainer(
        max_steps=60, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    folder = module.export(tmp_path / "student")
    before, after = Pretrained.load(tiny / stage), Pretrained.load(folder)
    assert after.config["distilled"] == "Ends"
    assert after.config["solver"]["_target_"].endswith("consistency")
    measured = distance(vae)

    def error(model):
        found = []
        for batch in data.val_dataloader():
            with torch.no_grad():
                answer = model.denoise(cond=batch["cond"])(batch["eps"], batch["t"])
            more = {"mask": batch["mask"], "cond": batch["cond"]} if stage == "slat" else {}
            found.append(measured(answer, batch["x0"], **more).mean())
        return float(torch.stack(found).mean())

    assert error(after) < error(before)


def test_unpacking_is_the_inverse_of_packing(tiny, tmp_path):
    stages = unpacked(tmp_path, tiny / "flow")
    again = packed(tmp_path / "again", **stages, vae=str(tiny / "vae"), settings={"guidance_scale": 2.0})
    ours, theirs = load(tiny / "flow"), load(again)
    for stage in ("structure", "slat"):
        one, two = getattr(ours, stage), getattr(theirs, stage)
        assert one.steps == two.steps == Pretrained.load(stages[stage]).steps
        for name, value in one.net.state_dict().items():
            torch.testing.assert_close(two.net.state_dict()[name], value, rtol=0, atol=0)
