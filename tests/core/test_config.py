import pytest
from omegaconf import OmegaConf

from fewstep.core.cli import main
from fewstep.core.config import ConfigError, Problem, check, compose_config, experiments, plain
from fewstep.core.errors import UsageError

TOY = "experiment=core/toy"


def _problems(*overrides, command="fit"):
    return {problem.key: problem.message for problem in check(compose_config(command, [TOY, *overrides]))}


def test_the_toy_has_no_mistakes():
    assert _problems() == {}


@pytest.mark.parametrize("command", ["fit", "check"])
def test_three_mistakes_are_named_in_one_run(command, in_folder, capsys):
    wrong = ["trainer.max_stepz=3", "module.net._target_=fewstep.core.lit.toy.PlainNet", "data.batch_size=many"]
    assert main([command, TOY, *wrong]) == 2
    error = capsys.readouterr().err
    assert "3 mistakes in the config" in error
    assert "trainer.max_stepz: unknown key for Trainer, did you mean 'max_steps'?" in error
    assert "module.net._target_: target 'fewstep.core.lit.toy.PlainNet' does not exist" in error
    assert "did you mean 'PlaneNet'?" in error
    assert "data.batch_size: expected int, got 'many' (str)" in error
    assert not list(in_folder.iterdir())


@pytest.mark.parametrize(
    ("override", "key", "message"),
    [
        ("modul.steps=3", "modul", "unknown key for Job, did you mean 'module'?"),
        ("thread=2", "thread", "did you mean 'threads'?"),
        ("threads=two", "threads", "expected int | None, got 'two' (str)"),
        ("module.parameterization=3", "module.parameterization", "expected str, got 3 (int)"),
        ("module.path=vp_linear", "module.path", "expected AffinePath, got 'vp_linear' (str)"),
        ("module.net._target_=torch.optim.AdamW", "module.net", "expected Module, got torch.optim.AdamW"),
        ("module.net.width=[1]", "module.net.width", "expected int, got [1] (list)"),
        ("module.optimizer.lrr=1", "module.optimizer.lrr", "unknown key for Adam, did you mean 'lr'?"),
        ("module.optimizer._partial_=false", "module.optimizer.params", "missing: Adam needs it"),
        ("~module.net", "module.net", "missing: DiffusionModule needs it"),
        ("module.net=???", "module.net", "has no value yet: give one"),
        ("module.seed=${nowhere}", "module.seed", "Interpolation key 'nowhere' not found"),
        ("data._target_=os.system", "data._target_", "is not allowed"),
        ("data._target_=torch.nn.Linear", "data", "expected LightningDataModule, got torch.nn.Linear"),
        ("callbacks.ema=3", "callbacks.ema", "expected a callback with _target_, got 3 (int)"),
        ("callbacks.ema.dekay=1", "callbacks.ema.dekay", "did you mean 'decay'?"),
        ("callbacks.x._target_=torch.nn.ReLU", "callbacks.x", "expected a callback with _target_, got torch.nn.ReLU"),
        ("+module.scheduler=[{_target_: os.system}]", "module.scheduler.0._target_", "is not allowed"),
    ],
)
def test_each_mistake_is_named_by_its_key(override, key, message):
    assert message in _problems(override)[key]


def test_callbacks_can_be_left_out():
    assert _problems("callbacks.ema=null") == {}


def test_overrides_that_name_no_choice_are_all_listed():
    with pytest.raises(ConfigError) as caught:
        compose_config(
            "fit", ["experiment=core/toi", "path=vpp_linear", "trainer=", "trainer=cpuu", "data.n=1=2=[", "x"]
        )
    messages = {problem.key: problem.message for problem in caught.value.problems}
    assert "there is no 'core/toi', did you mean 'core/toy'? (one of " in messages["experiment"]
    assert "there is no 'vpp_linear', did you mean 'vp_linear'?" in messages["path"]
    assert "there is no 'cpuu', did you mean 'cpu'?" in messages["trainer"]
    assert "is not an override" in messages["x"]


def test_without_an_experiment_the_choices_are_listed(capsys, in_folder):
    assert main(["fit"]) == 2
    assert "experiment: nothing to fit yet: choose experiment=NAME (one of " in capsys.readouterr().err
    assert main(["fit", "experiment=core/joy"]) == 2
    assert "core/toy" in capsys.readouterr().err


def test_a_run_is_named_after_its_experiment():
    assert compose_config("fit", [TOY]).name == "core/toy"
    assert compose_config("fit", [TOY, "name=mine"]).name == "mine"


def test_groups_and_new_keys():
    config = compose_config("fit", [TOY, "path=ou", "module.path.gamma=2", "trainer.accumulate_grad_batches=2"])
    assert config.module.path == {"_target_": "fewstep.core.paths.ou", "gamma": 2}
    assert config.trainer.accumulate_grad_batches == 2
    assert compose_config("fit", [TOY, "optimizer=adamw"]).module.optimizer._target_ == "torch.optim.AdamW"


def test_unknown_command():
    with pytest.raises(UsageError, match="no main config 'fitt': expected one of fit, validate"):
        compose_config("fitt")


def test_own_configs(tmp_path, in_folder, capsys):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text(
        "# @package _global_\ndefaults: [core/toy, _self_]\ndata: {n: 64}\nmodule: {steps: 2}\n"
    )
    config = compose_config("fit", ["experiment=small"], config_dir=tmp_path / "mine")
    assert config.data.n == 64
    assert {"small", "core/toy"} <= set(experiments(config_dir=tmp_path / "mine"))
    assert main(["check", "--config-dir", str(tmp_path / "mine"), "experiment=small"]) == 0
    assert "no mistakes found" in capsys.readouterr().out
    with pytest.raises(UsageError, match="the config folder .* does not exist"):
        compose_config("fit", [TOY], config_dir=tmp_path / "none")


def test_a_broken_yaml_is_one_line(tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "broken.yaml").write_text("# @package _global_\ndefaults: [/trainer: nowhere]\n")
    with pytest.raises(ConfigError, match=r"fit.yaml: .*nowhere"):
        compose_config("fit", ["experiment=broken"], config_dir=tmp_path)
    (folder / "broken.yaml").write_text("a: [\n")
    with pytest.raises(ConfigError, match=r"fit.yaml: "):
        compose_config("fit", ["experiment=broken"], config_dir=tmp_path)


def test_plain_is_resolved_and_free_of_omegaconf():
    content = plain(compose_config("fit", [TOY, "seed=7"]))
    assert content["module"]["seed"] == content["data"]["seed"] == 7
    assert type(content["module"]) is dict
    with pytest.raises(ConfigError, match="3 mistakes in the config"):
        plain(OmegaConf.merge(compose_config("fit", [TOY]), {"seed": "x"}))


def test_check_takes_plain_mappings():
    assert Problem("trainer", "missing: Job needs it") in check({"data": None, "name": "x"})
