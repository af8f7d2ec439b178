"""What happens beside training: averaged weights, the last checkpoint, a line of log, predictions on disk."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import BasePredictionWriter, Callback, Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from safetensors.torch import save_file
from torch import Tensor

from fewstep.core.errors import UsageError


class Ema(Callback):
    """An exponential moving average of all floating-point weights, used in validation and stored as `state_dict`.

    The raw weights are stored beside it, so that a resumed run goes on exactly as one that was never stopped.

    Parameters
    ----------
    decay
        Share of the old average that is kept at each optimizer step, in [0, 1).
    warmup
        Use min(decay, (1 + n) / (10 + n)) at step n, so that a short run is not held back by its first weights.

    Raises
    ------
    UsageError
        If `decay` is outside [0, 1).
    """

    def __init__(self, *, decay: float = 0.999, warmup: bool = True):
        if not 0 <= decay < 1:
            raise UsageError(f"decay of the average is in [0, 1), got {decay}")
        self.decay, self.warmup = decay, warmup
        self._average: dict[str, Tensor] = {}
        self._updates, self._step, self._swapped = 0, 0, False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start from the current weights, unless a checkpoint brought an average."""
        if not self._average:
            self._average = {name: value.detach().clone() for name, value in _floating(pl_module).items()}
        self._average = {name: value.to(pl_module.device) for name, value in self._average.items()}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Move the average if the optimizer has stepped."""
        if trainer.global_step == self._step:
            return
        self._step, self._updates = trainer.global_step, self._updates + 1
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates)) if self.warmup else self.decay
        current = _floating(pl_module)
        torch._foreach_lerp_(list(self._average.values()), [current[name] for name in self._average], 1 - decay)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        if self._average and not self._swapped:
            self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the raw weights back."""
        if self._swapped:
            self._swap(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the raw weights back before anything is saved."""
        self.on_validation_end(trainer, pl_module)

    def state_dict(self) -> dict[str, int]:
        """Counters of the average."""
        return {"updates": self._updates, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the counters."""
        self._updates, self._step = state_dict["updates"], state_dict["step"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average into `state_dict` and the raw weights into `raw_state_dict`."""
        if self._average and not self._swapped:
            checkpoint["raw_state_dict"] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **self._average}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore both sets when training goes on; anything else uses the average."""
        if trainer.state.fn == "fit" and "raw_state_dict" in checkpoint:
            names = _floating(pl_module)
            self._average = {name: checkpoint["state_dict"][name].clone() for name in names}
            pl_module.load_state_dict(checkpoint["raw_state_dict"])

    def _swap(self, module: pl.LightningModule) -> None:
        for name, value in _floating(module).items():
            raw = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(raw)
        self._swapped = not self._swapped


def _floating(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.data for name, value in module.state_dict().items() if value.is_floating_point()}


class LastCheckpoint(Checkpoint):
    """`checkpoints/last.ckpt` of the run folder, written every so many steps, on SIGTERM, on Ctrl-C and at the end.

    Parameters
    ----------
    every_n_steps
        Training batches between two writes.
    """

    def __init__(self, *, every_n_steps: int = 500):
        self.every_n_steps, self._saved = every_n_steps, -1

    @staticmethod
    def file(run_folder: str | Path) -> Path:
        """Where the checkpoint of a run is."""
        return Path(run_folder) / "checkpoints" / "last.ckpt"

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Write when it is time, and at `max_steps`, where Lightning would count a broken-off epoch as a whole one."""
        due = (trainer.fit_loop.total_batch_idx + 1) % self.every_n_steps == 0
        if due or 0 < trainer.max_steps <= trainer.global_step:
            self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write when the run is told to stop, but not when it has failed."""
        alone = trainer.world_size == 1
        if isinstance(exception, SIGTERMException) or (isinstance(exception, KeyboardInterrupt) and alone):
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the end of the run."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        step = trainer.fit_loop.total_batch_idx
        if trainer.state.fn == "fit" and not trainer.fast_dev_run and step != self._saved:
            trainer.save_checkpoint(self.file(trainer.default_root_dir))
            self._saved = step


class LogLine(Callback):
    """A plain line of numbers every `trainer.log_every_n_steps` batches, for output that is not a terminal."""

    def __init__(self) -> None:
        self._since, self._batches = time.monotonic(), 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Print every so many batches."""
        self._batches += 1
        if self._batches < trainer.log_every_n_steps or not trainer.is_global_zero:
            return
        now = time.monotonic()
        print(f"{_numbers(trainer, 'train')}  {self._batches / (now - self._since):.3g} batches/s", flush=True)
        self._since, self._batches = now, 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print what validation found."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            print(_numbers(trainer, "val"), flush=True)


def _numbers(trainer: pl.Trainer, stage: str) -> str:
    """The step and the logged numbers of a stage; names without a stage belong to both."""
    other = "val/" if stage == "train" else "train/"
    metrics = {name: value for name, value in trainer.callback_metrics.items() if not name.startswith(other)}
    return "  ".join([f"step {trainer.global_step}", *(f"{name} {float(v):.5g}" for name, v in metrics.items())])


class PredictionFiles(BasePredictionWriter):
    """Each predicted item as `predictions/<index>.safetensors` of the run folder, from every process."""

    def __init__(self) -> None:
        super().__init__("batch")

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        *_: Any,
    ) -> None:
        """Write one file for each item of the batch.

        Raises
        ------
        UsageError
            If the module predicts something else than a tensor with one row per item.
        """
        if not isinstance(prediction, Tensor) or batch_indices is None or len(prediction) != len(batch_indices):
            raise UsageError(f"PredictionFiles writes a tensor with one row per item, got {type(prediction).__name__}")
        folder = Path(trainer.default_root_dir) / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        for index, item in zip(batch_indices, prediction, strict=True):
            part = folder / f".{index}.{trainer.global_rank}"
            save_file({"x0": item.detach().cpu().contiguous()}, part)
            part.replace(folder / f"{index:06d}.safetensors")
