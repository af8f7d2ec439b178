"""Pairs of clean and degraded speech, mixed on the fly; the pair of item (epoch, index) depends on the seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fewstep.audio.enhance import noises
from fewstep.audio.enhance.corpus import Clips
from fewstep.audio.enhance.damage import damage
from fewstep.audio.enhance.level import gain_of
from fewstep.audio.enhance.rooms import Response, plate

Array = np.ndarray
TASKS = ("denoise", "dereverb", "restore")
RATES = ((9, 10), (10, 9), (5, 6), (6, 5))
"""Speeds of the voices, as ratios, beside the recorded one."""


@dataclass(frozen=True)
class Mixer:
    """What pairs are made of.

    Parameters
    ----------
    speech
        Clean recordings.
    rate
        Hz.
    noise
        Recorded noises.
    responses
        Simulated rooms.
    plates
        Recorded responses, without direct sound.
    task
        ``"denoise"``: noise at a drawn SNR; ``"dereverb"``: a room, and faint noise; ``"restore"``: a missing band, a
        codec, coarse numbers or clipping (`fewstep.audio.enhance.damage`), and faint noise.
    snr
        Range in dB, over the time in which the voice speaks.
    t60
        Range that `plates` are cut to, seconds.
    augment
        Other speeds, filters and levels of the voice; off for a test set.
    generated
        Share of noises that are made here, not recorded.
    """

    speech: Clips
    rate: int
    noise: Clips | None = None
    responses: Sequence[Response] = ()
    plates: Clips | None = None
    task: str = "denoise"
    snr: tuple[float, float] = (-5.0, 15.0)
    t60: tuple[float, float] = (0.3, 1.0)
    augment: bool = True
    generated: float = 0.5
    _kinds: tuple[str, ...] = field(default=("coloured", "babble", "hum", "clicks"), repr=False)

    def pair(self, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        """A crop of n samples of a drawn recording: clean and degraded, float32 [n], at the level of `level.gain`."""
        return self.degrade(self._voice(n, rng), rng)

    def degrade(self, clean: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Clean [n] -> (clean, degraded), at the level that nets are used at, with up to 4 dB of play in training."""
        target, wet = clean, clean
        if self.task != "denoise":
            target, wet = (
                self._reverberate(clean, rng) if self.task == "dereverb" else (clean, damage(clean, self.rate, rng))
            )
            noisy = wet + self._noise(len(clean), rng) * _amount(wet, rng.uniform(20, 45))
        else:
            noisy = wet + self._noise(len(clean), rng) * _amount(wet, rng.uniform(*self.snr))
        gain = gain_of(noisy) * (10 ** (rng.uniform(-4, 4) / 20) if self.augment else 1)
        return (gain * target).astype(np.float32), (gain * noisy).astype(np.float32)

    def _voice(self, n: int, rng: np.random.Generator) -> Array:
        return _crop(self.speech, n, rng, self._varied if self.augment else None)

    def _varied(self, wav: Array, rng: np.random.Generator) -> Array:
        from scipy.signal import lfilter, resample_poly

        if rng.random() < 0.5:
            wav = resample_poly(wav, *RATES[rng.integers(len(RATES))])
        if rng.random() < 0.3:
            wav = lfilter([1, rng.uniform(-0.6, 0.6)], [1], wav)
        return wav.astype(np.float32)

    def _reverberate(self, clean: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        from scipy.signal import oaconvolve

        if self.plates is not None and (not self.responses or rng.random() < 0.15):
            response = plate(self.plates[int(rng.integers(len(self.plates)))], self.rate, rng, t60=self.t60)
        else:
            response = self.responses[int(rng.integers(len(self.responses)))]
        return tuple(oaconvolve(clean, h)[: len(clean)] for h in (response.direct, response.whole))

    def _noise(self, n: int, rng: np.random.Generator) -> Array:
        """One noise, or two on top of each other; power one."""
        wav = self._one_noise(n, rng)
        if rng.random() < 0.25:
            wav = wav + 10 ** (rng.uniform(-12, 6) / 20) * self._one_noise(n, rng)
        return wav

    def _one_noise(self, n: int, rng: np.random.Generator) -> Array:
        if self.noise is None or rng.random() < self.generated:
            kind = self._kinds[int(rng.choice(len(self._kinds), p=(0.4, 0.3, 0.15, 0.15)))]
            if kind == "babble":
                wav = noises.babble(n, [self._talker], rng)
            else:
                wav = getattr(noises, kind)(n, self.rate, rng)
        else:
            wav = _crop(self.noise, n, rng, self._filtered if self.augment else None, whole=True)
        return wav / np.sqrt(np.square(wav).mean() + 1e-12)

    def _talker(self, n: int, rng: np.random.Generator) -> Array:
        """Someone who talks without a pause, at a speed that may differ much from the recorded one."""
        wav = _crop(self.speech, int(1.5 * n), rng, None, whole=True)
        ratio = rng.uniform(0.7, 1.4)
        return np.interp(np.arange(n) * ratio, np.arange(len(wav)), wav).astype(np.float32)

    def _filtered(self, wav: Array, rng: np.random.Generator) -> Array:
        from scipy.signal import lfilter

        if rng.random() < 0.6:
            a, b = rng.uniform(-0.8, 0.8, 2)
            wav = lfilter([1, a], [1, b], wav)
        if rng.random() < 0.3:
            ratio = rng.uniform(0.75, 1.0)
            wav = np.interp(np.arange(len(wav)) * ratio, np.arange(len(wav)), wav)
        return wav.astype(np.float32)


def _crop(
    clips: Clips,
    n: int,
    rng: np.random.Generator,
    change: Callable[[Array, np.random.Generator], Array] | None,
    *,
    whole: bool = False,
) -> Array:
    """n samples of a drawn clip; a short one is put at a random place, or repeated if a `whole` crop is wanted."""
    index = int(rng.integers(len(clips)))
    margin = n // 3 if change else 0
    length = clips.length(index)
    wav = clips.cut(index, int(rng.integers(0, max(1, length - n - margin + 1))), n + margin)
    if whole and len(wav) < n + margin:
        wav = np.resize(wav, n + margin)
    if change:
        wav = change(wav, rng)
    if len(wav) < n:
        room = n - len(wav)
        before = int(rng.integers(0, room + 1))
        return np.pad(wav, (before, room - before), mode="wrap" if whole else "constant")
    return wav[:n]


def _amount(wav: Array, snr: float) -> float:
    """What noise of power one is multiplied with, for an SNR in dB over the frames in which something is heard."""
    frames = np.square(wav[: len(wav) // 256 * 256]).reshape(-1, 256).mean(1)
    loud = frames[frames > frames.max() * 1e-3] if frames.size else frames
    power = float(loud.mean()) if loud.size else 0.0
    return float(np.sqrt(max(power, 1e-8) * 10 ** (-snr / 10)))
