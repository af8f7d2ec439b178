"""Restoration checkpoints by name: weights, process and recipe from one folder."""

from __future__ import annotations

from pathlib import Path

import torch

from fewstep.core import checkpoint, hub
from fewstep.core.build import build
from fewstep.core.errors import UsageError
from fewstep.restoration.model import Restoration

KIND = "restoration"
METHODS = ("resshift", "diffir", "ir-sde", "regression")
_NEEDED = ("task", "scale", "method", "path", "steps", "recipe")


def load(name: str | Path, *, device: str | torch.device = "cpu") -> Restoration:
    """Load by name.

    Parameters
    ----------
    name
        A model that ships (``"sr-x4"``, ``"denoise"``, ``"deblur"``, ``"inpaint"``), a folder (an export, or the
        folder of a run) or a hub id.
    device
        Where the net runs.

    Returns
    -------
    Restoration

    Raises
    ------
    UsageError
        If there is no such model, it is of another kind, or its config lacks something.
    """
    inside = Path(name) / "export"
    found = inside if not (Path(name) / hub.CONFIG).is_file() and (inside / hub.CONFIG).is_file() else str(name)
    folder = hub.resolve(found, kind=KIND)
    net, config = checkpoint.load(folder, kind=KIND, device=device)
    missing = [key for key in _NEEDED if key not in config]
    if missing:
        raise UsageError(f"{name}: config.yaml lacks {', '.join(missing)}; export it with fewstep fit")
    if config["method"] not in METHODS:
        raise UsageError(f"{name}: method {config['method']!r} is not one of {', '.join(METHODS)}")
    return Restoration(
        net, str(config["task"]), int(config["scale"]), str(config["method"]), build(config["path"]),
        int(config["steps"]), config["recipe"], config,
    )  # fmt: skip
