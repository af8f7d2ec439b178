import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from fewstep.core.distill.drifting import Drifting
from fewstep.core.distill.energy import EnergyScore, energy_score
from fewstep.core.distill.reflow import Ends
from fewstep.core.errors import UsageError
from fewstep.core.lit.distill import DistillModule
from fewstep.core.pretrained import Pretrained
from fewstep.three_d.data.alike import Alike
from fewstep.three_d.lit.decoded import CellFeatures, DecodedCells, DecodedSurfaces
from fewstep.three_d.pretrained import deepened, load, packed, unpacked
from tests.three_d.data.test_ends import _data


def _told(batch=2, cells=5):
    coords = torch.stack([torch.randperm(6**3)[:cells] for _ in range(batch)])
    mask = torch.ones(batch, cells, dtype=torch.bool)
    mask[1, -2:] = False
    return {"coords": torch.stack([coords // 36, coords // 6 % 6, coords % 6], 2), "mask": mask}


def _trained(tiny, folder, stage, method, data, *, steps):
    torch.manual_seed(0)
    module = DistillModule(teacher=str(tiny / stage), method=method, steps=2, learning_rate=1e-3, save_samples=False)
    trainer = pl.Trainer(
        max_steps=steps, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return Pretrained.load(module.export(folder / "student"))


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


def test_features_of_cells_are_chances_at_several_scales(tiny):
    torch.manual_seed(0)
    features = CellFeatures(str(tiny / "vae"), latent=2.0, cells=0.5, scales=(1, 3))
    x = torch.randn(3, 4, 2, 2, 2, requires_grad=True)
    fine, coarse, latent = features(x)
    torch.testing.assert_close(latent.square().sum((1, 2, 3, 4)), 4 * x.square().mean((1, 2, 3, 4)))
    chance = features.net.decode(features.net.restored(x)).sigmoid()
    torch.testing.assert_close(fine, 0.5 * chance)
    torch.testing.assert_close(coarse[:, 0, 1, 0, 1], 0.5 * 3**0.75 * chance[:, 0, 3:, :3, 3:].mean((1, 2, 3)))
    coarse.sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(value.grad is None for value in features.net.parameters())


@pytest.mark.filterwarnings("ignore:.*eval mode.*")
def test_data_beside_trajectories_bring_the_answers_law_nearer_to_theirs(tiny, tmp_path):
    features = CellFeatures(str(tiny / "vae"))

    def score(name, **beside):
        data = _data(tiny, tmp_path, "structure", **beside)
        method = Ends(
            distance=DecodedCells(str(tiny / "vae")),
            beside=EnergyScore(features=features, weight=3.0) if beside else None,
        )
        student = _trained(tiny, tmp_path / name, "structure", method, data, steps=80)
        found, real = [], _data(tiny, tmp_path, "structure").data
        real.prepare_data()
        real.setup("fit")
        generator = torch.Generator().manual_seed(0)
        for batch in (real.trained[number] for number in range(len(real.trained))):
            denoise, x0 = student.denoise(cond=batch["cond"]), batch["x0"]
            with torch.no_grad():
                noise = [torch.randn(x0.shape, generator=generator) for _ in range(32)]
                answers = [denoise(eps, torch.ones(len(x0))) for eps in noise]
                found.append(energy_score(answers, x0, features=features).mean())
        return float(torch.stack(found).mean())

    assert score("both", beside=_data(tiny, tmp_path, "structure").data) < score("alone")


@pytest.mark.filterwarnings("ignore:.*eval mode.*")
def test_answers_drift_towards_shapes_that_are_told_the_same(tiny, tmp_path):
    """Two captions, one of full and one of few cells: a student that only drifts answers each with its own."""
    data = _data(tiny, tmp_path, "structure")
    data.prepare_data()
    features = CellFeatures(str(tiny / "vae"), latent=0.0)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 2, 2, 2, generator=generator) * 2
    words = np.zeros((64, 2, 16), np.uint8)
    words[::2, :, 0], words[1::2, :, 0] = 1, 2
    real = latents[torch.arange(64) % 2] + 0.1 * torch.randn(64, 4, 2, 2, 2, generator=generator)
    data.beside = data.data
    data.data.setup("fit")
    options = {"picture": 32, "groups": 2, "members": 8, "near": 16, "tells_all": 1.0, "seed": 0}
    data.data.trained = Alike(words, real, **options)
    method = Ends(distance=DecodedCells(str(tiny / "vae"), latent=0, cells=0), beside=Drifting(features=features))
    student = _trained(tiny, tmp_path, "structure", method, data, steps=240)
    batch = data.data.trained[0]
    kinds = batch["cond"]["words"][:, 0] - 1
    with torch.no_grad():
        answers = student.denoise(cond=batch["cond"])(torch.randn_like(batch["x0"]), torch.ones(16))
    ours, theirs = (torch.cat([f.flatten(1) for f in features(x)], 1) for x in (answers, latents))
    apart = torch.cdist(ours, theirs)
    assert len(set(kinds.tolist())) == 2
    assert (apart.argmin(1) == kinds).float().mean() > 0.9


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
    before = Pretrained.load(tiny / stage)
    after = _trained(tiny, tmp_path, stage, Ends(distance=distance(vae)), data, steps=60)
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


@pytest.mark.parametrize("stage", ["structure", "slat"])
def test_a_deeper_flow_answers_alike_and_learns_in_its_new_blocks(tiny, tmp_path, stage):
    before, after = (Pretrained.load(f) for f in (tiny / stage, deepened(tmp_path / "deep", tiny / stage)))
    assert len(after.net.flow.blocks) == 2 * len(before.net.flow.blocks)
    assert after.config["model"]["flow"]["num_blocks"] == len(after.net.flow.blocks)
    data = _data(tiny, tmp_path, stage)
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    t = torch.full((len(batch["x0"]),), 0.6)
    one, two = (model.denoise(cond=batch["cond"])(batch["eps"], t) for model in (before, after))
    torch.testing.assert_close(one, two, rtol=0, atol=2e-3)  # tiny's weights are stored in half precision
    after.net.requires_grad_(True)
    after.denoise(cond=batch["cond"])(batch["eps"], t).square().sum().backward()
    for block in after.net.flow.blocks[1::2]:
        for layer in (block.self_attn.to_out, block.cross_attn.to_out, block.mlp.mlp[-1]):
            assert layer.weight.abs().max() == 0 < layer.weight.grad.abs().max()


def test_only_flows_of_shapes_are_deepened(tmp_path):
    with pytest.raises(UsageError, match="flow of a stage of shapes"):
        deepened(tmp_path / "deep", "photos32")
