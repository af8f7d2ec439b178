import lightning.pytorch as pl
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.three_d.data.shapes import Shapes
from fewstep.three_d.lit.vae import VaeModule
from fewstep.three_d.models.slat_vae import SlatVae
from fewstep.three_d.models.structure_vae import StructureVae
from fewstep.three_d.pretrained import autoencoder

SMALL = {"resolution": 6, "latent": 4, "channels": 24, "heads": 2, "encoder_blocks": 1, "decoder_blocks": 1}


def _net(stage):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StructureVae(**SMALL) if stage == "structure_vae" else SlatVae(block=3, **SMALL)


def _recipe(stage):
    kind = "StructureVae" if stage == "structure_vae" else "SlatVae"
    more = {} if stage == "structure_vae" else {"block": 3}
    return {"module": {"net": {"_target_": f"fewstep.three_d.models.{stage}.{kind}", **SMALL, **more}}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


def _fit(stage, cache, folder, steps, **options):
    data = Shapes(stage=stage, cache=cache, shapes=8, held_out=4, views=1, samples=18, block=3, batch_size=4, workers=1)
    module = VaeModule(
        _net(stage), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3), seed=1, **options
    )
    trainer = pl.Trainer(
        max_steps=steps, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, check_val_every_n_epoch=1000, num_sanity_val_steps=0,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return module, trainer, data


@pytest.mark.parametrize("stage", ["structure_vae", "slat_vae"])
def test_training_brings_the_shape_back_and_export_measures_latents(stage, cache, tmp_path):
    before, _, _ = _fit(stage, cache, tmp_path, 1)
    module, trainer, data = _fit(stage, cache, tmp_path, 60)
    batch = data.trained[0]
    assert module._iou(batch) > before._iou(batch) + 0.1
    folder = module.export(tmp_path / "export", recipe=_recipe(stage))
    net = autoencoder(folder, stage.removesuffix("_vae"))
    assert trainer.callback_metrics["train/loss"].isfinite()
    found = []
    for number in range(len(data.trained)):
        batch = data.trained[number]
        if stage == "structure_vae":
            found.append(net.normalised(net.encode(batch["occupancy"])[0]).transpose(0, 1).flatten(1).T)
        else:
            found.append(net.normalised(net.encode(**batch)[0])[batch["mask"]])
    z = torch.cat(found)
    torch.testing.assert_close(z.mean(0), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(4), atol=0.05, rtol=0)


@pytest.mark.parametrize("stage", ["structure_vae", "slat_vae"])
def test_a_decoder_alone_leaves_the_latents_as_they_are(stage, cache, tmp_path):
    module, _, _ = _fit(stage, cache, tmp_path, 5)
    start = module.export(tmp_path / "a", recipe=_recipe(stage))
    more, _, data = _fit(stage, cache, tmp_path, 5, start=str(start))
    after = more.export(tmp_path / "b", recipe=_recipe(stage))
    old, new = (autoencoder(folder, stage.removesuffix("_vae")) for folder in (start, after))
    batch = data.trained[0]
    a, b = (
        net.encode(*batch.values())[0] if stage == "structure_vae" else net.encode(**batch)[0] for net in (old, new)
    )
    assert torch.equal(a, b)
    assert torch.equal(old.mean, new.mean)
    assert not torch.equal(old.leave.weight, new.leave.weight)
    wider = SMALL | {"channels": 48}
    wide = StructureVae(**wider) if stage == "structure_vae" else SlatVae(block=3, **wider)
    with pytest.raises(UsageError, match="does not fit this net"):
        VaeModule(wide, start=str(start))


def test_a_run_repeats(cache, tmp_path):
    first, second = (_fit("slat_vae", cache, tmp_path, 3)[0].net.state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_without_a_job_there_is_no_export(tmp_path):
    with pytest.raises(UsageError, match="nothing says how to rebuild"):
        VaeModule(_net("slat_vae")).export(tmp_path)
