import functools

import pytest
import torch

from fewstep.core.build import build, did_you_mean, locate
from fewstep.core.errors import UsageError

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}


def test_builds_nested_targets_lists_and_partials():
    config = {
        "_target_": "torch.nn.ModuleList",
        "modules": [LINEAR, {"_target_": "torch.nn.SiLU"}],
    }
    modules = build(config)
    assert [type(module).__name__ for module in modules] == ["Linear", "SiLU"]
    optimizer = build({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.5})
    assert isinstance(optimizer, functools.partial)
    assert optimizer(modules.parameters()).param_groups[0]["lr"] == 0.5


def test_further_arguments_pass_as_they_are():
    assert build({"_target_": "torch.nn.Linear", "in_features": 3}, out_features=7).out_features == 7


def test_leaves_the_config_alone():
    config = {"_target_": "torch.nn.ModuleList", "modules": [dict(LINEAR)]}
    build(config)
    assert config == {"_target_": "torch.nn.ModuleList", "modules": [LINEAR]}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.system", "is not allowed: a target starts with"),
        ("builtins.eval", "is not allowed: a target starts with"),
        ("torch.load", "is not allowed: a target starts with"),
        ("fewstep", "is not allowed: a target starts with"),
        ("torch.nnx.Linear", "is not allowed: a target starts with"),
        ("lightning.pytorch.TrainerX", "is not allowed: a target starts with"),
        (3, "is not allowed: a target starts with"),
        ("fewstep.core.hub.os.system", "defined in posix, outside"),
        ("fewstep.core.bench.subprocess.run", "defined in subprocess, outside"),
        ("torch.nn.modules.module.warnings.warn", "outside"),
        ("fewstep.core.build.importlib.import_module", "defined in importlib, outside"),
        ("fewstep.core.checkpoint.export", "is a part to build"),
        ("fewstep.core.lit.diffusion.export", "is a part to build"),
        ("fewstep.core.cli.main", "is a part to build"),
        ("fewstep.core.commands.fit", "is a part to build"),
        ("fewstep.core.lit.run.run", "is a part to build"),
        ("fewstep.audio.cli.tts", "is a part to build"),
        ("torch.nn.Linear.__init__.__globals__", "starts with an underscore"),
        ("fewstep.core.build._walk", "starts with an underscore"),
        ("torch.nn.functional", "is a module: expected a class or a function"),
        ("fewstep.core.build.TARGETS", "is a tuple: expected a class or a function"),
        ("torch.nn.Linera", "has no 'Linera', did you mean 'Linear'"),
        ("fewstep.core.nothing.X", "does not exist"),
        ("fewstep.nothing", "does not exist"),
    ],
)
def test_refuses_what_the_list_does_not_hold(target, message):
    with pytest.raises(UsageError, match=message):
        locate(target)
    with pytest.raises(UsageError, match=message):
        build({"_target_": "torch.nn.ModuleList", "modules": [{"_target_": target}]})


def test_names_a_package_that_is_missing(monkeypatch, tmp_path):
    import fewstep.core

    (tmp_path / "needy.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.setattr(fewstep.core, "__path__", [*fewstep.core.__path__, str(tmp_path)])
    with pytest.raises(UsageError, match="needs the package 'a_package_that_nobody_has'"):
        locate("fewstep.core.needy.Thing")


def test_refuses_what_is_not_a_config():
    with pytest.raises(UsageError, match="expected a mapping with the key _target_"):
        build({"in_features": 3})


def test_says_which_argument_does_not_fit():
    with pytest.raises(UsageError, match=r"torch.nn.Linear: .*out_featurez"):
        build(LINEAR | {"out_featurez": 2})


def test_guesses_only_close_names():
    assert did_you_mean("widht", ["width", "depth"]) == ", did you mean 'width'?"
    assert did_you_mean("zzz", ["width", "depth"]) == ""


def test_located_classes_are_the_classes():
    assert locate("torch.optim.AdamW") is torch.optim.AdamW
