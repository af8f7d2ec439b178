"""Jobs as a user starts them: fit, validate, test and predict, one process and two, stopped and resumed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from fewstep.core.checkpoint import load_weights_only
from fewstep.core.cli import main

SMALL = ["experiment=core/toy", "data.n=128", "data.batch_size=16", "module.steps=2"]
LAST = "checkpoints/last.ckpt"


def _start(*arguments):
    command = [sys.executable, "-W", "ignore", "-m", "fewstep.core.cli", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _finish(process, timeout=400):
    out, error = process.communicate(timeout=timeout)
    assert process.returncode == 0, out + error
    return out


def test_fit_validate_test_predict(in_folder, capsys):
    assert main(["fit", *SMALL, "trainer.max_steps=9", "trainer.check_val_every_n_epoch=1", "threads=1"]) == 0
    folder = in_folder / "runs" / "core" / "toy"
    assert torch.get_num_threads() == 1
    assert sorted(file.name for file in folder.iterdir()) == ["checkpoints", "export", "fit.yaml", "logs"]
    assert "max_steps: 9" in (folder / "fit.yaml").read_text()
    lines = (folder / "logs" / "version_0" / "metrics.csv").read_text().splitlines()
    assert [row["val/loss"] for row in csv.DictReader(lines) if row["val/loss"]]
    for command in ("validate", "test"):
        capsys.readouterr()
        assert main([command, *SMALL]) == 0
        assert "val/loss\t" in capsys.readouterr().out
        assert set(json.loads((folder / f"{command}.json").read_text())) == {"val/loss", "val/energy_distance"}
    assert main(["predict", *SMALL]) == 0
    assert len(list((folder / "predictions").iterdir())) == 16


def test_lightnings_own_complaints_are_one_line(in_folder, capsys):
    assert main(["fit", *SMALL, "trainer.accelerator=nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["fit", *SMALL, "trainer.max_steps=1", "trainer.min_epochs=x", "trainer.devices=-7"]) == 2


def test_help_of_a_job(capsys):
    assert main(["fit", "--help"]) == 0
    assert "experiment=core/toy" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_and_resumed_ends_as_unbroken(in_folder):
    steps = [*SMALL, "trainer.max_steps=600", "trainer.log_every_n_steps=1", "logger=none"]
    process = _start("fit", *steps, "name=stopped")
    for line in process.stdout:
        if line.startswith("step 20 "):
            process.send_signal(signal.SIGTERM)
            break
    process.communicate(timeout=400)
    assert process.returncode == 128 + signal.SIGTERM
    stopped = load_weights_only(f"runs/stopped/{LAST}")
    assert 20 <= stopped["global_step"] < 600
    assert main(["fit", *steps, "name=stopped", "ckpt=last"]) == 0
    assert main(["fit", *steps, "name=unbroken"]) == 0
    resumed, unbroken = (load_weights_only(f"runs/{name}/{LAST}") for name in ("stopped", "unbroken"))
    for name, value in unbroken["state_dict"].items():
        torch.testing.assert_close(resumed["state_dict"][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_fit_and_predict(in_folder):
    two = [*SMALL, "trainer=ddp", "logger=none"]
    _finish(_start("fit", *two, "trainer.max_epochs=2", "trainer.max_steps=-1"))
    folder = in_folder / "runs" / "core" / "toy"
    assert load_weights_only(folder / LAST)["global_step"] == 2 * 128 // (2 * 16), "each process has half the data"
    assert (folder / "export" / "model.safetensors").is_file()
    start = time.time()
    _finish(_start("predict", *two, "data.batch_size=2"))
    files = sorted((folder / "predictions").iterdir())
    assert [file.name for file in files] == [f"{i:06d}.safetensors" for i in range(16)]
    assert min(file.stat().st_mtime for file in files) > start - 5
    together = [load_file(file)["x0"] for file in files]
    assert main(["predict", *SMALL, "logger=none"]) == 0
    for file, one in zip(files, together, strict=True):
        torch.testing.assert_close(load_file(file)["x0"], one, rtol=1e-4, atol=1e-5)
