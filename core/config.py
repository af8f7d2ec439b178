"""Configs: composed from YAML and overrides by Hydra, and checked as a whole before anything is built.

Defaults live in Python signatures; YAML holds choices and deviations.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from fewstep.core.build import TARGET, did_you_mean
from fewstep.core.check import UNKNOWN, ConfigError, Problem, against, targets
from fewstep.core.errors import UsageError
from fewstep.core.signatures import fits, shown

COMMANDS = ("fit", "validate", "test", "predict")


@dataclass(frozen=True)
class Job:
    """What a config says at its top level.

    Parameters
    ----------
    data, module, trainer
        Buildable configs.
    callbacks
        Name -> buildable config; null leaves one out.
    logger
        Buildable config, or null for none.
    name
        Name of the run; its folder is ``<runs>/<name>``.
    ckpt
        Checkpoint to continue from or to use: a file, ``last`` (of this run), or ``auto`` (last if there is one).
    seed
        Of the initial weights and of everything drawn in training.
    threads
        CPU threads per process; null leaves torch's choice.
    teacher
        A model to distil, for the experiments that read it.
    overwrite
        Lets `fit` start anew in a folder that holds a finished or stopped run.
    """

    data: pl.LightningDataModule
    module: pl.LightningModule
    trainer: pl.Trainer
    name: str
    runs: str = "runs"
    callbacks: Mapping[str, Any] = field(default_factory=dict)
    logger: Any = None
    ckpt: str | None = None
    seed: int = 0
    threads: int | None = None
    teacher: str | None = None
    overwrite: bool = False


def compose_config(command: str, overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> DictConfig:
    """Compose the config of a command.

    Parameters
    ----------
    command
        One of `COMMANDS`: the name of the main YAML.
    overrides
        ``group=choice`` and ``dotted.key=value`` in Hydra's grammar; a new key needs no ``+``, `check` judges it.
    config_dir
        A folder of the user's own YAML, laid out as ours (``experiment/mine.yaml``).

    Returns
    -------
    omegaconf.DictConfig
        Unresolved; see `check` and `plain`.

    Raises
    ------
    ConfigError
        If an override does not parse or names a choice that is not there, with all of them listed.
    """
    if command not in COMMANDS:
        raise UsageError(f"no main config {command!r}: expected one of {', '.join(COMMANDS)}")
    GlobalHydra.instance().clear()
    with initialize_config_module("fewstep.configs", version_base="1.3"):
        if config_dir is not None:
            _search_also(_folder(config_dir))
        settled = _settled(overrides)
        try:
            config = compose(command, overrides=settled)
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError([Problem(f"{command}.yaml", " ".join(str(error).split()))]) from None
    if "module" not in config and "data" not in config:
        there = ", ".join(experiments(config_dir=config_dir))
        raise ConfigError([Problem("experiment", f"nothing to {command} yet: choose experiment=NAME (one of {there})")])
    if OmegaConf.is_missing(config, "name"):
        config.name = next((text.split("=", 1)[1] for text in settled if text.startswith("experiment=")), command)
    return config


def check(config: Mapping[str, Any]) -> list[Problem]:
    """Every mistake in a config: keys, targets and plain types.

    Parameters
    ----------
    config
        What `compose_config` returns, or a plain mapping of that form.

    Returns
    -------
    list of Problem
        Empty if the config can be built.
    """
    problems: list[Problem] = []
    content = _plain(config if isinstance(config, DictConfig) else OmegaConf.create(dict(config)), "", problems)
    problems += against(content, Job, "", partial=False)
    for key in ("data", "module", "trainer", "logger"):
        problems += targets(content.get(key), key)
    callbacks = content.get("callbacks")
    for name, callback in callbacks.items() if isinstance(callbacks, Mapping) else ():
        if callback is not None and not fits(callback, pl.Callback):
            problems.append(Problem(f"callbacks.{name}", f"expected a callback with {TARGET}, got {shown(callback)}"))
        problems += targets(callback, f"callbacks.{name}")
    return sorted(set(problems), key=lambda problem: problem.key)


def plain(config: DictConfig) -> dict[str, Any]:
    """The checked config as plain resolved dicts and lists.

    Parameters
    ----------
    config
        What `compose_config` returns.

    Returns
    -------
    dict
        Ready for `fewstep.core.build.build`, key by key.

    Raises
    ------
    ConfigError
        With everything that `check` finds.
    """
    if problems := check(config):
        raise ConfigError(problems)
    return _plain(config, "", [])


def experiments(*, config_dir: str | Path | None = None) -> list[str]:
    """Names that ``experiment=`` accepts.

    Parameters
    ----------
    config_dir
        As for `compose_config`.

    Returns
    -------
    list of str
        Sorted, for example ``["core/toy"]``.
    """
    roots = [Path(__file__).parent.parent / "configs"] + ([] if config_dir is None else [_folder(config_dir)])
    files = (file.relative_to(root / "experiment") for root in roots for file in root.glob("experiment/**/*.yaml"))
    return sorted(file.with_suffix("").as_posix() for file in files)


def _folder(config_dir: str | Path) -> Path:
    folder = Path(config_dir).resolve()
    if not folder.is_dir():
        raise UsageError(f"the config folder {config_dir} does not exist")
    return folder


def _search_also(folder: Path) -> None:
    loader: Any = GlobalHydra.instance().config_loader()
    loader.get_search_path().append("user", folder.as_uri(), anchor="main")
    loader.repository.initialize_sources(loader.get_search_path())


def _settled(overrides: Sequence[str]) -> list[str]:
    parser, problems, settled = OverridesParser.create(), [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            problems.append(Problem(text, "is not an override: expected group=choice or dotted.key=value"))
            continue
        choices = list(_choices(override.key_or_group))
        problems += _unknown_choices(override, choices)
        explicit = override.is_add() or override.is_force_add() or override.is_delete() or override.package is not None
        settled.append(text if explicit or choices else f"++{text}")
    if problems:
        raise ConfigError(problems)
    return settled


def _choices(group: str) -> Iterator[str]:
    """All configs of a group, with those of its subgroups as `sub/name`; none when it is no group."""
    loader = GlobalHydra.instance().config_loader()
    yield from loader.get_group_options(group, ObjectType.CONFIG)
    for sub in loader.get_group_options(group, ObjectType.GROUP):
        if not sub.startswith("__"):
            yield from (f"{sub}/{name}" for name in _choices(f"{group}/{sub}"))


def _unknown_choices(override: Override, choices: list[str]) -> list[Problem]:
    if not choices or override.is_delete():
        return []
    value = override.value()
    wanted = [str(item) for item in (value if isinstance(value, list) else [value]) if item is not None]
    return [
        Problem(
            override.key_or_group, f"there is no {name!r}{did_you_mean(name, choices)} (one of {', '.join(choices)})"
        )
        for name in wanted
        if name not in choices
    ]


def _plain(node: Any, key: str, problems: list[Problem]) -> Any:
    """Resolve everything; what cannot be resolved becomes a problem and UNKNOWN."""
    if isinstance(node, ListConfig):
        return [_value(node, i, f"{key}.{i}", problems) for i in range(len(node))]
    if isinstance(node, DictConfig):
        return {str(name): _value(node, name, f"{key}.{name}" if key else str(name), problems) for name in list(node)}
    return node


def _value(node: Any, name: Any, key: str, problems: list[Problem]) -> Any:
    try:
        return _plain(node[name], key, problems)
    except InterpolationToMissingValueError:
        return UNKNOWN  # the key that it refers to is reported
    except OmegaConfBaseException as error:
        missing = OmegaConf.is_missing(node, name)
        problems.append(Problem(key, "has no value yet: give one" if missing else str(error).splitlines()[0]))
        return UNKNOWN
