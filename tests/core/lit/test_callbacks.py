import types

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fewstep.core.checkpoint import load_weights_only
from fewstep.core.errors import UsageError
from fewstep.core.lit.callbacks import Ema, LastCheckpoint, LogLine, PredictionFiles


class Line(pl.LightningModule):
    """One weight, moved by exactly 1 per step."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.validated, self.trained, self.fails_at = [], [], None

    def configure_optimizers(self):
        return torch.optim.SGD([self.w], lr=1.0)

    def training_step(self, batch, batch_idx):
        self.trained.append(float(self.w.detach()))
        if self.global_step == self.fails_at:
            raise SIGTERMException
        self.log("train/loss", self.w.detach().sum())
        return -self.w.sum()

    def validation_step(self, batch, batch_idx):
        self.validated.append(float(self.w.detach()))
        self.log("val/loss", self.w.sum())


def _fit(tmp_path, module, callbacks, **options):
    settings = {"max_epochs": 3, "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=callbacks,
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
        enable_checkpointing=any(isinstance(callback, LastCheckpoint) for callback in callbacks),
        **(settings | options),
    )
    loader = DataLoader(TensorDataset(torch.zeros(4, 1)), batch_size=1)
    trainer.fit(module, loader, loader)
    return trainer


def _average(weights, decay):
    average = 0.0
    for weight in weights:
        average = decay * average + (1 - decay) * weight
    return average


def test_the_average_is_what_it_says_and_is_validated(tmp_path):
    module = Line()
    _fit(tmp_path, module, [Ema(decay=0.5, warmup=False), LastCheckpoint()])
    assert module.trained == list(range(12))
    assert module.validated[::4] == pytest.approx([_average(range(1, n + 1), 0.5) for n in (4, 8, 12)])
    state = load_weights_only(LastCheckpoint.file(tmp_path))
    assert float(state["state_dict"]["w"]) == pytest.approx(_average(range(1, 13), 0.5))
    assert float(state["raw_state_dict"]["w"]) == 12
    assert float(module.w.detach()) == 12


def test_a_short_run_is_not_held_back(tmp_path):
    module = Line()
    _fit(tmp_path, module, [Ema(decay=0.9999), LastCheckpoint()])
    assert float(load_weights_only(LastCheckpoint.file(tmp_path))["state_dict"]["w"]) > 6


def test_the_average_counts_optimizer_steps_not_batches(tmp_path):
    module = Line()
    _fit(tmp_path, module, [Ema(decay=0.5, warmup=False), LastCheckpoint()], accumulate_grad_batches=2, max_epochs=1)
    state = load_weights_only(LastCheckpoint.file(tmp_path))
    assert float(state["state_dict"]["w"]) == pytest.approx(_average([1, 2], 0.5))


def test_decay_is_checked():
    with pytest.raises(UsageError, match=r"decay of the average is in \[0, 1\), got 1"):
        Ema(decay=1)


def test_last_is_written_every_so_often_and_when_told_to_stop(tmp_path):
    module = Line()
    module.fails_at = 6
    with pytest.raises(SIGTERMException):
        _fit(tmp_path, module, [LastCheckpoint(every_n_steps=4)])
    assert load_weights_only(LastCheckpoint.file(tmp_path))["global_step"] == 6


def test_last_is_not_written_by_a_failing_step(tmp_path):
    class Broken(Line):
        def training_step(self, batch, batch_idx):
            if self.global_step == 6:
                raise RuntimeError("bug")
            return super().training_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="bug"):
        _fit(tmp_path, Broken(), [LastCheckpoint(every_n_steps=4)])
    assert load_weights_only(LastCheckpoint.file(tmp_path))["global_step"] == 4


def test_raw_weights_are_saved_when_validation_is_interrupted(tmp_path):
    class Interrupted(Line):
        def validation_step(self, batch, batch_idx):
            raise SIGTERMException

    with pytest.raises(SIGTERMException):
        _fit(tmp_path, Interrupted(), [Ema(decay=0.5, warmup=False), LastCheckpoint()])
    state = load_weights_only(LastCheckpoint.file(tmp_path))
    assert float(state["raw_state_dict"]["w"]) == 4
    assert float(state["state_dict"]["w"]) == pytest.approx(_average([1, 2, 3, 4], 0.5))


def test_log_lines(tmp_path, capsys):
    _fit(tmp_path, Line(), [LogLine()], log_every_n_steps=2, max_epochs=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["step 2", "train/loss 1"],
        ["step 4", "train/loss 3"],
        ["step 4", "val/loss 4"],
    ]
    assert all("batches/s" in line for line in lines[:2])


def _trainer(tmp_path, rank=0):
    return types.SimpleNamespace(default_root_dir=str(tmp_path), global_rank=rank)


def test_predictions_are_files_by_index(tmp_path):
    items = torch.arange(6.0).reshape(2, 3)
    PredictionFiles().write_on_batch_end(_trainer(tmp_path), None, items, [4, 11], None, 0, 0)
    folder = tmp_path / "predictions"
    assert sorted(file.name for file in folder.iterdir()) == ["000004.safetensors", "000011.safetensors"]
    assert torch.equal(load_file(folder / "000011.safetensors")["x0"], items[1])


@pytest.mark.parametrize("prediction", [{"x": 1}, torch.zeros(3, 2)])
def test_predictions_are_one_row_per_item(tmp_path, prediction):
    with pytest.raises(UsageError, match="PredictionFiles writes a tensor with one row per item"):
        PredictionFiles().write_on_batch_end(_trainer(tmp_path), None, prediction, [4, 11], None, 0, 0)
