"""A tiny seeded enhancer, as `fewstep fit` would export it, and noise that sounds like nothing."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from fewstep.audio.enhance.api import Enhancer
from fewstep.audio.models.enhance import SpectrumNet
from fewstep.audio.models.enhance_system import Enhancement
from fewstep.core import checkpoint, paths

SIZES = {"bins": 32, "channels": 4, "width": 16, "hidden": 16, "dilations": [1, 2]}
SPECTRUM = {"sample_rate": 8000, "n_fft": 62, "hop": 16}


def tiny_model(*, predictor: bool = True, net: bool = True) -> Enhancement:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Enhancement(
            spectrum=SPECTRUM,
            predictor=SpectrumNet(**SIZES) if predictor else None,
            net=SpectrumNet(**SIZES, signals=3 if predictor else 2, told=True) if net else None,
        )
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """The tiny enhancer on disk."""
    target = {"_target_": "fewstep.audio.models.enhance.SpectrumNet", **SIZES}
    config = {
        "kind": "enhance",
        "model": {
            "_target_": "fewstep.audio.models.enhance_system.Enhancement",
            "spectrum": SPECTRUM,
            "predictor": target,
            "net": {**target, "signals": 3, "told": True},
        },
        "path": {"_target_": "fewstep.core.paths.sb_ve", "c": 0.01},
        "parameterization": "x0",
        "steps": 2,
        "task": "denoise",
        "level": "loud",
    }
    return checkpoint.export(tmp_path_factory.mktemp("enhancer"), tiny_model(), config, dtype=torch.float32)


@pytest.fixture
def enhancer() -> Enhancer:
    return Enhancer(tiny_model(), paths.sb_ve(2.6, 0.01), steps=2)


@pytest.fixture
def noise():
    """noise(seconds, rate, channels) -> float32 [channels, n]."""

    def make(seconds: float, rate: int = 8000, channels: int = 1, seed: int = 0) -> np.ndarray:
        drawn = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))
        return (0.1 * drawn).astype(np.float32)

    return make


@pytest.fixture
def wav(tmp_path, noise):
    """wav(name, seconds, rate, channels) -> a file."""

    def write(name: str = "in.wav", seconds: float = 1.0, rate: int = 8000, channels: int = 1, **options) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, noise(seconds, rate, channels).T, rate, **options)
        return file

    return write
