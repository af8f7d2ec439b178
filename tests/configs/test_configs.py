"""Every YAML under configs/ is composed and checked, and every choice of a group can be built."""

from pathlib import Path

import pytest

from fewstep.core.build import build
from fewstep.core.config import COMMANDS, check, compose_config, experiments, plain

CONFIGS = Path(__file__).parents[2] / "configs"
TOY = "experiment=core/toy"


def _choices(group):
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


@pytest.mark.parametrize("experiment", experiments())
@pytest.mark.parametrize("command", COMMANDS)
def test_experiments_have_no_mistakes(experiment, command):
    """Except for what only a user knows, such as the folder of the data."""
    problems = check(compose_config(command, [f"experiment={experiment}"]))
    assert [str(problem) for problem in problems if "has no value yet" not in problem.message] == []


def test_a_value_that_is_used_elsewhere_is_missed_once():
    (problem,) = check(compose_config("fit", ["experiment=distill/consistency"]))
    assert problem.key == "teacher"
    assert "has no value yet" in problem.message


@pytest.mark.parametrize("group", sorted(d.name for d in CONFIGS.iterdir() if d.is_dir() and d.name[0] != "_"))
def test_no_group_is_empty(group):
    assert list((CONFIGS / group).rglob("*.yaml"))


@pytest.mark.parametrize("path", _choices("path"))
def test_paths_build(path):
    config = plain(compose_config("fit", [TOY, f"path={path}"]))
    assert build(config["module"]).path == build(config["module"]["path"])


@pytest.mark.parametrize("optimizer", _choices("optimizer"))
def test_optimizers_build(optimizer):
    module = build(plain(compose_config("fit", [TOY, f"optimizer={optimizer}"]))["module"])
    assert module.configure_optimizers().param_groups[0]["lr"] > 0


@pytest.mark.parametrize("trainer", _choices("trainer"))
@pytest.mark.parametrize("logger", _choices("logger"))
def test_trainers_and_loggers_have_no_mistakes(trainer, logger):
    assert check(compose_config("fit", [TOY, f"trainer={trainer}", f"logger={logger}"])) == []


@pytest.mark.parametrize("callbacks", _choices("callbacks"))
def test_callbacks_build(callbacks):
    config = plain(compose_config("fit", [TOY, f"callbacks={callbacks}"]))
    for callback in config.get("callbacks", {}).values():
        build(callback)
