"""What lines, codecs and recorders do to speech: a missing upper band, coarse numbers, lossy coding, clipping."""

from __future__ import annotations

import io

import numpy as np

Array = np.ndarray


def damage(wav: Array, rate: int, rng: np.random.Generator) -> Array:
    """One or two of the four, drawn at random: float [n] -> float32 [n]."""
    kinds = (band_limit, companded, coded, clipped)
    for place in rng.choice(len(kinds), size=int(rng.integers(1, 3)), replace=False):
        wav = kinds[int(place)](wav, rate, rng)
    return wav.astype(np.float32)


def band_limit(wav: Array, rate: int, rng: np.random.Generator) -> Array:
    """Nothing above 18 to 90 % of the band, as after a lower sample rate."""
    spectrum = np.fft.rfft(wav)
    spectrum[int(rng.uniform(0.18, 0.9) * len(spectrum)) :] = 0
    return np.fft.irfft(spectrum, len(wav))


def companded(wav: Array, rate: int, rng: np.random.Generator) -> Array:
    """5 to 8 bits on the mu-law (ITU-T G.711 has 8)."""
    peak, levels = np.abs(wav).max() + 1e-9, 2 ** int(rng.integers(4, 8))
    squeezed = np.sign(wav) * np.log1p(255 * np.abs(wav) / peak) / np.log(256)
    rounded = np.round(squeezed * levels) / levels
    return np.sign(rounded) * np.expm1(np.abs(rounded) * np.log(256)) / 255 * peak


def coded(wav: Array, rate: int, rng: np.random.Generator) -> Array:
    """Through Vorbis or MP3 at the lowest or a middling quality, aligned with the original."""
    import soundfile

    form, subtype = (("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"))[int(rng.integers(2))]
    peak = np.abs(wav).max() + 1e-9
    store = io.BytesIO()
    level = float(rng.uniform(0.6, 1.0))
    with soundfile.SoundFile(store, "w", rate, 1, subtype=subtype, format=form, compression_level=level) as stream:
        stream.write(0.9 * wav / peak)
    store.seek(0)
    out = soundfile.read(store)[0] * peak / 0.9
    n = 1 << (len(wav) + len(out)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(out, n) * np.fft.rfft(wav, n).conj(), n)
    delay = int(likeness[: rate // 4].argmax())
    return np.pad(out[delay:], (0, max(0, len(wav) - len(out) + delay)))[: len(wav)]


def clipped(wav: Array, rate: int, rng: np.random.Generator) -> Array:
    """Cut off at 10 to 60 % of the peak."""
    limit = rng.uniform(0.1, 0.6) * (np.abs(wav).max() + 1e-9)
    return np.clip(wav, -limit, limit)
