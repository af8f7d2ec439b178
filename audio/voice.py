"""A voice to train on from: its net and its process, from a name that ships, a folder or a hub id."""

from __future__ import annotations

from fewstep.audio.models.prodiff import ProDiff
from fewstep.core import checkpoint, hub
from fewstep.core.errors import UsageError


def load_voice(name: str) -> tuple[ProDiff, tuple[float, float]]:
    """The net of a voice (a name that ships, a folder or a hub id) and the betas of its path.

    Raises
    ------
    UsageError
        If it is no ProDiff.
    """
    net, config = checkpoint.load(hub.resolve(name, kind="tts"), kind="tts")
    if not isinstance(net, ProDiff):
        raise UsageError(f"{name}: expected a ProDiff voice to train on from, got {type(net).__name__}")
    return net, (config["path"]["beta_min"], config["path"]["beta_max"])
