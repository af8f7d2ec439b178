"""Noises that need no recording: coloured noise, hum, clicks, and babble of several voices.

Each is a function of a length, a sample rate and a `numpy.random.Generator`; the level is the mixer's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray


def coloured(n: int, rate: int, rng: np.random.Generator) -> Array:
    """Noise with a random spectral slope (-9 to 3 dB per octave), random bumps and, half the time, a slow swell [n]."""
    frequencies = np.fft.rfftfreq(n, 1 / rate)
    octaves = np.log2(np.maximum(frequencies, 40.0) / 1000)
    decibels = rng.uniform(-9, 3) * octaves
    for _ in range(rng.integers(0, 3)):
        centre, width, height = rng.uniform(-4, 3), rng.uniform(0.2, 1.5), rng.uniform(-12, 12)
        decibels = decibels + height * np.exp(-(((octaves - centre) / width) ** 2))
    spectrum = np.fft.rfft(rng.standard_normal(n)) * 10 ** (decibels / 20)
    wav = np.fft.irfft(spectrum, n)
    return (wav * swell(n, rate, rng) if rng.random() < 0.5 else wav).astype(np.float32)


def hum(n: int, rate: int, rng: np.random.Generator) -> Array:
    """Mains or a machine: harmonics of a low tone that drifts a little [n]."""
    base = rng.choice([50.0, 60.0, rng.uniform(40, 400)])
    drift = 1 + 0.01 * rng.uniform() * np.sin(2 * np.pi * rng.uniform(0.1, 2) * np.arange(n) / rate)
    phase = 2 * np.pi * base * np.cumsum(drift) / rate
    count = int(min(rng.integers(3, 30), rate / 2 // base))
    slope = rng.uniform(0.3, 1.5)
    wav = sum(k**-slope * rng.uniform(0.2, 1) * np.sin(k * phase + rng.uniform(0, 6.3)) for k in range(1, count + 1))
    return (wav + 0.02 * rng.standard_normal(n)).astype(np.float32)


def clicks(n: int, rate: int, rng: np.random.Generator) -> Array:
    """Knocks and clatter: decaying bursts of filtered noise at random times [n]."""
    wav = np.zeros(n, np.float32)
    for _ in range(1 + rng.poisson(rng.uniform(1, 8) * n / rate)):
        length = int(rate * rng.uniform(0.004, 0.12))
        burst = rng.standard_normal(length) * np.exp(-np.arange(length) / length * rng.uniform(3, 9))
        burst += (
            rng.uniform(0, 2)
            * np.sin(2 * np.pi * rng.uniform(200, 4000) * np.arange(length) / rate)
            * np.exp(-5 * np.arange(length) / length)
        )
        start = int(rng.integers(0, n))
        end = min(n, start + length)
        wav[start:end] += rng.uniform(0.2, 1) * burst[: end - start]
    return wav + np.float32(1e-3) * rng.standard_normal(n).astype(np.float32)


def babble(n: int, voices: Sequence[Callable[[int, np.random.Generator], Array]], rng: np.random.Generator) -> Array:
    """The sum of 3 to 7 voices [n]; each of `voices` gives n samples of someone who talks."""
    wav = np.zeros(n, np.float32)
    for _ in range(rng.integers(3, 8)):
        wav += rng.uniform(0.3, 1) * voices[int(rng.integers(len(voices)))](n, rng)
    return wav


def swell(n: int, rate: int, rng: np.random.Generator) -> Array:
    """A gain that wanders by some decibels within a second [n]."""
    points = max(2, int(n / rate * rng.uniform(0.5, 5)) + 2)
    return 10 ** (np.interp(np.linspace(0, points - 1, n), np.arange(points), rng.uniform(-9, 3, points)) / 20)
