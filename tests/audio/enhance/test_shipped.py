"""The enhancers that ship: cards, sizes, and that each does its task on recordings that it was not trained on."""

import numpy as np
import pytest
import torch

from fewstep.audio import Enhancer
from fewstep.audio.data.features import normalise_loudness
from fewstep.audio.enhance.api import SHIPPED
from fewstep.audio.enhance.corpus import Clips, audio_files
from fewstep.audio.enhance.loss import spectral_error
from fewstep.audio.enhance.metrics import si_sdr
from fewstep.audio.enhance.mix import Mixer
from fewstep.audio.enhance.rooms import bank
from fewstep.audio.io import read_audio
from fewstep.core import checkpoint, hub

RATE = 16000


@pytest.fixture(scope="module")
def voices(request) -> Clips:
    files = audio_files(request.config.rootpath / "tests" / "data" / "speech")
    wavs = [normalise_loudness(read_audio(file, RATE)[0][0].numpy()) for file in files]
    samples = np.concatenate([np.round(wav * 32767).astype(np.int16) for wav in wavs])
    return Clips(samples, tuple(np.cumsum([0, *map(len, wavs)]).tolist()), tuple(file.stem for file in files))


@pytest.mark.parametrize("task", SHIPPED)
def test_weights_are_small_whole_and_described(task):
    folder = hub.resolve(SHIPPED[task], kind="enhance")
    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 12_000_000
    digest = checkpoint.sha256(weights)
    config = hub.read_config(folder)
    assert (config["sha256"], config["task"]) == (digest, task)
    card = hub.card(SHIPPED[task])
    for fact in ("CC0", "CC BY", "fewstep fit", "steps", "seed", "held-out", digest):
        assert fact in card, f"the card of {SHIPPED[task]} does not tell {fact!r}"


@pytest.mark.parametrize("task, share", [("denoise", 0.5), ("dereverb", 0.7)])
def test_the_task_is_done(task, share, voices, tmp_path):
    """What is left of the error of the compressed spectrum, and for noise the ratio in dB as well."""
    rooms = bank(tmp_path, RATE, count=2, seed=9, t60=(0.3, 0.5)) if task == "dereverb" else ()
    mixer = Mixer(voices, RATE, responses=rooms, task=task, augment=False, snr=(0.0, 5.0))
    enhancer = Enhancer.load(task=task)
    for steps in (None, 0):
        left, gains = [], []
        for i in range(len(voices)):
            clean, noisy = (torch.from_numpy(w) for w in mixer.degrade(voices[i], np.random.default_rng(i)))
            out = enhancer(noisy, RATE, steps=steps)
            assert out.wav.abs().max() <= 1
            ours, theirs, truth = (enhancer.model.spectrum.forward(w) for w in (out.wav[0], noisy, clean))
            left.append(float(spectral_error(ours, truth).mean() / spectral_error(theirs, truth).mean()))
            gains.append(float(si_sdr(out.wav[0], clean) - si_sdr(noisy, clean)))
        assert np.mean(left) < share, f"{steps} steps: {left}"
        assert task == "dereverb" or np.mean(gains) > 3, f"{steps} steps: {gains}"
