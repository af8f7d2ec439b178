"""Runs a checked job: `fewstep fit | validate | test | predict` after the config has been read."""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from fewstep.core.build import build
from fewstep.core.checkpoint import load_weights_only
from fewstep.core.errors import UsageError
from fewstep.core.lit.callbacks import LastCheckpoint, LogLine

_CHATTER = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*LeafSpec.*",
    ".*module\\(s\\) in eval mode.*",
)


def run(command: str, job: dict[str, Any]) -> Path:
    """Build a job and run it.

    The run folder ``<runs>/<name>`` gets `<command>.yaml` (the job), `checkpoints/last.ckpt`, the logger's files and,
    when the module has `export`, `export/`: the averaged weights as safetensors beside a config.

    Parameters
    ----------
    command
        ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
    job
        Plain config as `fewstep.core.config.plain` returns it.

    Returns
    -------
    pathlib.Path
        The run folder.

    Raises
    ------
    UsageError
        If the checkpoint to use is missing or belongs to another model, or if a fit would overwrite another one.
    """
    folder = Path(job["runs"]) / job["name"]
    ckpt = _checkpoint(job.get("ckpt"), folder)
    if command == "fit" and ckpt is None and not job.get("overwrite", False):
        _require_new(folder)
    _settle(job)
    data, module, trainer = build(job["data"]), build(job["module"]), _trainer(command, job, folder)
    if hasattr(module, "recipe"):
        module.recipe = job
    _write_job(folder / f"{command}.yaml", job)
    try:
        _go(command, trainer, module, data, ckpt, folder)
    except MisconfigurationException as error:
        raise UsageError(" ".join(str(error).split())) from error
    return folder


def _go(
    command: str,
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    ckpt: Path | None,
    folder: Path,
) -> None:
    options: dict[str, Any] = {"datamodule": data, "ckpt_path": ckpt, "weights_only": True}
    if command == "fit":
        trainer.fit(module, **options)
        _export(trainer, module, folder)
    elif command == "predict":
        trainer.predict(module, return_predictions=False, **options)
    else:
        metrics = getattr(trainer, command)(module, verbose=False, **options)
        _report(folder / f"{command}.json", metrics)


def _checkpoint(ckpt: str | None, folder: Path) -> Path | None:
    last = LastCheckpoint.file(folder)
    if ckpt is None or (ckpt == "auto" and not last.is_file()):
        return None
    file = last if ckpt in ("last", "auto") else Path(ckpt)
    if not file.is_file():
        raise UsageError(f"ckpt={ckpt}: {file} does not exist")
    load_weights_only(file)
    return file


@rank_zero_only
def _require_new(folder: Path) -> None:
    last = LastCheckpoint.file(folder)
    if last.exists():
        raise UsageError(f"{last} exists: go on with ckpt=last, choose another name=..., or give overwrite=true")


def _settle(job: dict[str, Any]) -> None:
    """Threads, flushed denormals (random weights run ten times slower without), seeds, no chatter."""
    if job.get("threads"):
        torch.set_num_threads(job["threads"])
    torch.set_flush_denormal(True)
    pl.seed_everything(job.get("seed", 0), workers=True, verbose=False)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for chatter in _CHATTER:
        warnings.filterwarnings("ignore", chatter)


def _trainer(command: str, job: dict[str, Any], folder: Path) -> pl.Trainer:
    callbacks = [build(callback) for callback in (job.get("callbacks") or {}).values() if callback is not None]
    terminal = sys.stderr.isatty()
    if command == "fit" and not terminal:
        callbacks.append(LogLine())
    logger = build(job["logger"]) if job.get("logger") else False
    settings = {"enable_progress_bar": terminal, **job["trainer"]}
    return build(settings, callbacks=callbacks, logger=logger, default_root_dir=str(folder))


@rank_zero_only
def _write_job(file: Path, job: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(yaml.safe_dump(job, sort_keys=False, allow_unicode=True), encoding="utf-8")
    part.replace(file)


def _export(trainer: pl.Trainer, module: pl.LightningModule, folder: Path) -> None:
    """The weights of last.ckpt, averaged where the run averages, so that what ships is what was validated."""
    last = LastCheckpoint.file(folder)
    if trainer.is_global_zero and hasattr(module, "export") and last.is_file() and not trainer.fast_dev_run:
        content = load_weights_only(last)
        module.load_state_dict(content["state_dict"])
        if hasattr(module, "averaged"):
            module.averaged = "raw_state_dict" in content
        module.export(folder / "export")
        print(f"exported to {folder / 'export'}")


@rank_zero_only
def _report(file: Path, metrics: Any) -> None:
    values = {name: value for part in metrics for name, value in part.items()}
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    for name, value in values.items():
        print(f"{name}\t{value:.6g}")
