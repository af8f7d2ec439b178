"""What `fewstep demo` shows of enhancement: a sentence of our own voice, spoiled by noise of our own, and cleaned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fewstep.audio.api import TextToSpeech
from fewstep.audio.enhance.api import Enhancer
from fewstep.audio.enhance.metrics import si_sdr
from fewstep.audio.enhance.noises import coloured
from fewstep.audio.enhance.plot import save_spectrograms
from fewstep.audio.io import resample, write_wav

TEXT = "The recording was made beside a busy road, and still every word can be heard."
SNR = 3.0  # dB


def demonstrate(out: Path) -> dict:
    """Write `noisy.wav`, `cleaned.wav` and `cleaned.png` into a folder, and say how much was gained."""
    speech = TextToSpeech.load()(TEXT, seed=0)
    enhancer = Enhancer.load()
    clean = resample(speech.wav, speech.sample_rate, enhancer.sample_rate)
    noise = torch.from_numpy(coloured(clean.shape[1], enhancer.sample_rate, np.random.default_rng(3)))[None]
    noise *= clean.square().mean().sqrt() / noise.square().mean().sqrt() * 10 ** (-SNR / 20)
    noisy = clean + noise
    noisy, clean = noisy / max(1.0, float(noisy.abs().max())), clean / max(1.0, float(noisy.abs().max()))
    enhanced = enhancer(noisy, enhancer.sample_rate)
    write_wav(out / "noisy.wav", noisy, enhancer.sample_rate)
    enhanced.save(out / "cleaned.wav")
    pictures = {"noisy": noisy[0], "cleaned": enhanced.wav[0], "clean": clean[0]}
    save_spectrograms(out / "cleaned.png", pictures, enhancer.sample_rate)
    before, after = (float(si_sdr(wav, clean)[0]) for wav in (noisy, enhanced.wav))
    return {
        "wav": str(out / "cleaned.wav"),
        "picture": str(out / "cleaned.png"),
        "network calls": enhanced.nfe,
        "SI-SDR before and after, dB": f"{before:.1f} and {after:.1f}",
        "real-time factor": round(enhanced.real_time_factor, 3),
    }
