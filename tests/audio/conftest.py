"""A tiny seeded voice and vocoder, and four recordings of the Kathleen voice (CC0) that no model was trained on."""

from pathlib import Path

import pytest
import torch

from fewstep.audio.mel import MelSpec
from fewstep.audio.models.prodiff import ProDiff, Statistics
from fewstep.audio.models.vocos import Vocos
from fewstep.core import checkpoint

RECORDINGS = Path(__file__).parents[1] / "data" / "speech"
SPEC = MelSpec()


def tiny_net() -> ProDiff:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ProDiff(
            hidden=16, encoder_layers=1, heads=2, filter=16, predictor_filter=16, channels=8, layers=3, dilation_cycle=2
        )
        for parameter in net.parameters():  # the zero-initialised last layer would hide everything before it
            torch.nn.init.normal_(parameter, std=0.2)
    net.condition_net.duration.linear.bias.data.fill_(1.8)  # five frames a phone
    net.set_statistics(Statistics(mel=(-5.0, 2.0), pitch=(5.0, 0.2), energy=(-4.0, 1.0)))
    return net.eval()


def tiny_vocoder() -> Vocos:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Vocos(channels=16, hidden=16, layers=1).eval()


@pytest.fixture(scope="session")
def voice_folder(tmp_path_factory) -> Path:
    """A folder `voice` and a folder `vocoder` as `fewstep fit` would export them."""
    folder = tmp_path_factory.mktemp("voices")
    net, vocoder = tiny_net(), tiny_vocoder()
    checkpoint.export(
        folder / "voice",
        net,
        {
            "kind": "tts",
            "model": {"_target_": "fewstep.audio.models.prodiff.ProDiff", **net.config()},
            "path": {"_target_": "fewstep.core.paths.vp_linear", "beta_min": 0.1, "beta_max": 20.0},
            "steps": 2,
            "vocoder": str(folder / "vocoder"),
        },
    )
    model = {"_target_": "fewstep.audio.models.vocos.Vocos", **vocoder.config()}
    checkpoint.export(folder / "vocoder", vocoder, {"kind": "vocoder", "model": model})
    return folder


@pytest.fixture
def net() -> ProDiff:
    return tiny_net()


@pytest.fixture
def vocoder() -> Vocos:
    return tiny_vocoder()


@pytest.fixture
def recordings() -> Path:
    return RECORDINGS
