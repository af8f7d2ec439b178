"""Fundamental frequency per mel frame, by probabilistic YIN (Mauch & Dixon 2014) as librosa implements it."""

from __future__ import annotations

import numpy as np

from fewstep.audio.mel import MelSpec


def fundamental(wav: np.ndarray, spec: MelSpec, *, f_min: float = 70.0, f_max: float = 500.0) -> np.ndarray:
    """Fundamental frequency in Hz, 0 where unvoiced.

    Parameters
    ----------
    wav : ndarray
        float [n] at `spec.sample_rate`.
    spec : MelSpec
        Sets the sample rate and the frames.
    f_min, f_max : float
        Range of the search, Hz.

    Returns
    -------
    ndarray
        float32 [n // spec.hop].
    """
    import librosa

    frames = len(wav) // spec.hop
    pad = (spec.n_fft - spec.hop) // 2
    padded = np.pad(wav.astype(np.float32), (pad, spec.n_fft - spec.hop - pad), mode="reflect")
    f0, voiced, _ = librosa.pyin(
        padded,
        fmin=f_min,
        fmax=f_max,
        sr=spec.sample_rate,
        frame_length=spec.n_fft,
        hop_length=spec.hop,
        center=False,
        resolution=0.3,
        n_thresholds=50,
        fill_na=0.0,
    )
    return np.where(voiced, f0, 0.0).astype(np.float32)[:frames]
