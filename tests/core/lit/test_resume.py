"""A run that is stopped and resumed ends as one that was never stopped."""

import pytest
import torch

from fewstep.core.checkpoint import load, load_weights_only
from fewstep.core.cli import main

SMALL = ["experiment=core/toy", "data.n=128", "data.batch_size=16", "module.steps=2", "logger=none"]


def _fit(name, *overrides):
    assert main(["fit", *SMALL, f"name={name}", *overrides]) == 0
    return load_weights_only(f"runs/{name}/checkpoints/last.ckpt")


def _assert_same(one, other):
    for key in ("state_dict", "raw_state_dict"):
        assert one[key].keys() == other[key].keys()
        for name, value in one[key].items():
            torch.testing.assert_close(value, other[key][name], rtol=0, atol=0)
    assert one["global_step"] == other["global_step"]


@pytest.mark.parametrize("stop", [3, 8, 11, 16])
def test_resumed_equals_unbroken(in_folder, stop):
    """Stopped in the middle of an epoch, at its end, and after a validation; an epoch has 8 batches."""
    validate = "trainer.check_val_every_n_epoch=1"
    unbroken = _fit("unbroken", "trainer.max_steps=21", validate)
    _fit("stopped", f"trainer.max_steps={stop}", validate)
    resumed = _fit("stopped", "trainer.max_steps=21", validate, "ckpt=last")
    _assert_same(resumed, unbroken)


def test_runs_with_another_seed_differ(in_folder):
    one, other = _fit("one", "trainer.max_steps=3"), _fit("other", "trainer.max_steps=3", "seed=1")
    assert any(not torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())


def test_auto_starts_and_goes_on(in_folder):
    _fit("auto", "trainer.max_steps=3", "ckpt=auto")
    _assert_same(_fit("auto", "trainer.max_steps=9", "ckpt=auto"), _fit("unbroken", "trainer.max_steps=9"))


def test_export_holds_the_averaged_weights(in_folder):
    last = _fit("run", "trainer.max_steps=5", "callbacks.ema.warmup=false", "callbacks.ema.decay=0.5")
    net, config = load("runs/run/export", kind="diffusion")
    assert config["path"] == {"_target_": "fewstep.core.paths.rectified_flow"}
    assert config["parameterization"] == "flow"
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, last["state_dict"][f"net.{name}"], rtol=1e-3, atol=1e-3)
        assert not torch.equal(last["state_dict"][f"net.{name}"], last["raw_state_dict"][f"net.{name}"])


def test_nothing_is_overwritten_by_accident(in_folder, capsys):
    _fit("run", "trainer.max_steps=2")
    before = (in_folder / "runs/run/checkpoints/last.ckpt").read_bytes()
    assert main(["fit", *SMALL, "name=run", "trainer.max_steps=3"]) == 2
    assert "exists: go on with ckpt=last, choose another name=..., or give overwrite=true" in capsys.readouterr().err
    assert (in_folder / "runs/run/checkpoints/last.ckpt").read_bytes() == before
    assert _fit("run", "trainer.max_steps=3", "overwrite=true")["global_step"] == 3


def test_missing_and_damaged_checkpoints(in_folder, capsys):
    assert main(["fit", *SMALL, "ckpt=last"]) == 2
    assert "ckpt=last: runs/core/toy/checkpoints/last.ckpt does not exist" in capsys.readouterr().err
    (in_folder / "bad.ckpt").write_bytes(b"PK broken")
    assert main(["validate", *SMALL, "ckpt=bad.ckpt"]) == 2
    assert "bad.ckpt is not a checkpoint of plain tensors" in capsys.readouterr().err
