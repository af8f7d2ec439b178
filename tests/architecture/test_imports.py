"""What importing costs: commands must not wait for a training framework."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AUDIT = """
import json, sys
{code}
heavy = ("torch", "lightning", "pytorch_lightning", "hydra", "omegaconf", "matplotlib", "torchvision", "librosa")
print("\\n" + json.dumps([name for name in heavy if name in sys.modules]))
"""


def _imported(code):
    run = subprocess.run([sys.executable, "-c", AUDIT.format(code=code)], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy():
    assert _imported("from fewstep.core.cli import main\nassert main(['--help']) == 0") == set()


def test_core_and_hub_import_nothing_heavy():
    assert _imported("import fewstep.core\nfrom fewstep.core import hub\nhub.shipped()") == set()


@pytest.mark.parametrize("room", ["fewstep.audio", "fewstep.mri", "fewstep.restoration", "fewstep.three_d"])
def test_rooms_import_no_training_framework(room):
    code = f"import {room}\nfor name in {room}.__all__: getattr({room}, name)"
    assert not _imported(code) & {"lightning", "pytorch_lightning", "hydra", "omegaconf", "torchvision"}


def test_import_rules():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout[run.stdout.find("Broken contracts") :] + run.stderr
