"""Where a model comes from: a name that ships, a folder, or a repository on the Hugging Face hub.

`FEWSTEP_OFFLINE=1` forbids the network.
"""

import os
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from fewstep.core.errors import UsageError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.yaml", "CARD.md"
PATTERNS = ["*.safetensors", "*.yaml", "*.md", "*.json", "*.txt"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve(name_or_path: str | Path, *, kind: str | None = None) -> Path:
    """The folder of a model.

    Parameters
    ----------
    name_or_path
        A name that ships (`shipped()` lists them), an existing folder, or a hub id ``org/name``, in that order.
    kind
        The kind that is wanted; a shipped name or a folder of another kind is refused here.

    Returns
    -------
    pathlib.Path
        A folder with `config.yaml` and `model.safetensors`.

    Raises
    ------
    UsageError
        If nothing answers to the name, the kind differs, or the network is needed and forbidden or down.
    """
    name = str(name_or_path)
    folders = {folder.name: folder for folder in _folders()}
    if name in folders:
        return _require_kind(folders[name], kind)
    if Path(name).is_dir():
        return _require_kind(Path(name), kind)
    if _HUB_ID.fullmatch(name) and not Path(name).exists():
        return _require_kind(snapshot(name), kind)
    known = ", ".join(name for name, its_kind in shipped() if kind is None or its_kind == kind) or "none"
    wanted = f" of kind {kind!r}" if kind else ""
    raise UsageError(f"no model{wanted} is called {name!r}: these ship: {known}; or give a folder or a hub id org/name")


def shipped() -> list[tuple[str, str]]:
    """The models that ship with the package.

    Returns
    -------
    list of (name, kind)
        Sorted by name.
    """
    return [(folder.name, read_config(folder)["kind"]) for folder in _folders()]


def snapshot(name: str) -> Path:
    """A repository of the hub, of any kind: its safetensors and its texts, downloaded once.

    Parameters
    ----------
    name
        ``org/name``.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UsageError
        If the network is needed and forbidden or down, or there is no such repository.
    """
    if os.environ.get("FEWSTEP_OFFLINE", "0") not in ("", "0"):
        raise UsageError(f"{name!r} is on the hub and FEWSTEP_OFFLINE is set: unset it, or give a folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=PATTERNS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UsageError(f"{name!r} cannot be had from the hub: {str(error).strip().splitlines()[0]}") from None


def card(name: str) -> str:
    """The card of a model: its data, licence, training command and metrics.

    Parameters
    ----------
    name
        As for `resolve`.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    UsageError
        If there is no such model or it has no card.
    """
    file = resolve(name) / CARD
    if not file.is_file():
        raise UsageError(f"{name} has no card ({file} does not exist)")
    return file.read_text(encoding="utf-8")


def read_config(folder: str | Path) -> dict[str, Any]:
    """The `config.yaml` of a checkpoint folder.

    Parameters
    ----------
    folder
        The checkpoint folder.

    Returns
    -------
    dict
        Its content, with at least ``kind`` and ``model``.

    Raises
    ------
    UsageError
        If the folder or the file is missing, is not YAML or lacks one of the two keys.
    """
    file = Path(folder) / CONFIG
    if not file.is_file():
        raise UsageError(f"{file} does not exist: a checkpoint is a folder with {WEIGHTS} and {CONFIG}")
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not readable as YAML: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("kind"), str) or "model" not in config:
        raise UsageError(f"{file} is not a checkpoint config: it needs the keys 'kind' and 'model'")
    return config


def _folders() -> Iterator[Path]:
    root = Path(str(resources.files("fewstep.weights")))
    yield from (folder for folder in sorted(root.iterdir()) if (folder / CONFIG).is_file())


def _require_kind(folder: Path, kind: str | None) -> Path:
    found = read_config(folder)["kind"]
    if kind is not None and found != kind:
        raise UsageError(f"{folder}: expected a model of kind {kind!r}, this one is of kind {found!r}")
    return folder
