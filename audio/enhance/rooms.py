"""Impulse responses: rooms simulated by pyroomacoustics, and recorded ones cut to a reverberation time.

A response comes as a pair: the whole one, and its direct sound alone, which is what dereverberation is to recover.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Response:
    """An impulse response and its direct sound [n], [m] at one start, and its reverberation time in seconds."""

    whole: Array
    direct: Array
    t60: float


def simulate(rate: int, rng: np.random.Generator, *, t60: tuple[float, float] = (0.3, 1.0)) -> Response:
    """A shoe-box room of random size, absorption and places, by the image-source method.

    Parameters
    ----------
    rate
        Hz.
    rng
        Draws the room.
    t60
        Range of the reverberation time that Sabine's formula is asked for, seconds.

    Returns
    -------
    Response
        With a direct sound of about one at its peak, and the reverberation time that was measured.

    References
    ----------
    Allen & Berkley 1979, doi:10.1121/1.382599.
    """
    import pyroomacoustics

    while True:
        size = rng.uniform((4, 3, 2.4), (10, 8, 4))
        wanted = rng.uniform(*t60)
        try:
            absorption, order = pyroomacoustics.inverse_sabine(wanted, size)
        except ValueError:  # so large a room cannot be so dry
            continue
        places = [rng.uniform(0.5, size - 0.5) for _ in range(2)]
        if np.linalg.norm(places[0] - places[1]) > 0.5:
            break
    responses = []
    for reflections in (min(order, 110), 0):
        room = pyroomacoustics.ShoeBox(
            size, fs=rate, materials=pyroomacoustics.Material(absorption), max_order=reflections
        )
        room.add_source(places[0])
        room.add_microphone(places[1])
        room.compute_rir()
        responses.append(np.asarray(room.rir[0][0], np.float32))
    whole, direct = responses
    peak = int(np.abs(direct).argmax())
    start, gain = max(0, peak - 40), 1 / np.abs(direct).max()
    measured = float(pyroomacoustics.experimental.rt60.measure_rt60(whole, fs=rate, decay_db=30))
    kept = slice(start, start + int(1.2 * measured * rate))
    return Response(gain * whole[kept], gain * direct[start : start + 81], measured)


def plate(wav: Array, rate: int, rng: np.random.Generator, *, t60: tuple[float, float] = (0.3, 1.0)) -> Response:
    """A recorded response without direct sound, faded to a drawn reverberation time and mixed with the dry sound."""
    wanted = rng.uniform(*t60)
    n = min(len(wav), int(1.2 * wanted * rate))
    wet = wav[:n] * 10 ** (-3 * np.arange(n) / rate / wanted)
    wet *= 10 ** (rng.uniform(-6, 6) / 20) / np.sqrt(np.square(wet).sum() + 1e-12)
    whole = np.concatenate([np.zeros(int(rng.uniform(0, 0.02) * rate)), wet]).astype(np.float32)
    whole[0] += 1
    return Response(whole, np.ones(1, np.float32), float(wanted))


def bank(
    folder: str | Path, rate: int, *, count: int, seed: int, t60: tuple[float, float] = (0.3, 1.0)
) -> list[Response]:
    """`count` simulated rooms, made once and kept in `folder`; room i depends on (seed, i) alone."""
    identity = hashlib.sha256(repr((rate, count, seed, t60)).encode()).hexdigest()[:12]
    file = Path(folder) / f"rooms-{identity}.npz"
    if not file.is_file():
        _save(file, [simulate(rate, np.random.default_rng((seed, i)), t60=t60) for i in range(count)])
    with np.load(file) as kept:
        return [
            Response(
                kept[f"whole{i}"].astype(np.float32), kept[f"direct{i}"].astype(np.float32), float(kept[f"t60{i}"])
            )
            for i in range(count)
        ]


def _save(file: Path, responses: Sequence[Response]) -> None:
    arrays = {f"{name}{i}": getattr(r, name) for i, r in enumerate(responses) for name in ("whole", "direct", "t60")}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    with open(part, "wb") as stream:
        np.savez(stream, **arrays)
    part.replace(file)
