"""Recordings of a folder, decoded once to 16-bit numbers in one file on disk and read from there by slices."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewstep.audio.data.features import normalise_loudness
from fewstep.audio.io import read_audio
from fewstep.core.errors import UsageError

Array = np.ndarray
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@dataclass(frozen=True)
class Clips:
    """Decoded recordings: all samples in a row, int16 (memory-mapped), and where each begins.

    Parameters
    ----------
    samples
        int16 [total].
    edges
        [clips + 1].
    names
        File names without suffix.
    """

    samples: Array
    edges: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Array:
        """float32 [n]."""
        return self.cut(index, 0, self.length(index))

    def length(self, index: int) -> int:
        """Samples of a clip."""
        return self.edges[index + 1] - self.edges[index]

    def cut(self, index: int, start: int, n: int) -> Array:
        """n samples of a clip from `start` on, float32 in [-1, 1]; fewer at its end."""
        first = self.edges[index] + start
        return self.samples[first : min(first + n, self.edges[index + 1])].astype(np.float32) / 32768


def audio_files(folder: str | Path) -> list[Path]:
    """The recordings below a folder, sorted by path.

    Raises
    ------
    UsageError
        If there is no such folder or it holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder of recordings")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise UsageError(f"{folder} holds no recording ({', '.join(SUFFIXES)})")
    return files


def decode(files: Sequence[Path], rate: int, cache: str | Path, *, loudness: bool = False) -> Clips:
    """Decode recordings to mono at a rate, or take them from the cache.

    Parameters
    ----------
    files
        What to read; the cache belongs to these paths, sizes and times of change.
    rate
        Hz.
    cache
        Folder.
    loudness
        Bring every recording to one loudness (`fewstep.audio.data.features.normalise_loudness`).

    Returns
    -------
    Clips

    Raises
    ------
    ValueError
        If a recording cannot be read.
    """
    stamps = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    identity = hashlib.sha256(repr((stamps, rate, loudness)).encode()).hexdigest()[:16]
    samples, index = Path(cache) / f"clips-{identity}.npy", Path(cache) / f"clips-{identity}.json"
    if not index.is_file():
        parts = [_decoded(file, rate, loudness) for file in files]
        Path(cache).mkdir(parents=True, exist_ok=True)
        part = samples.with_name(f".{samples.name}.{os.getpid()}.part")
        with open(part, "wb") as stream:
            np.save(stream, np.concatenate(parts))
        part.replace(samples)
        edges = np.cumsum([0, *map(len, parts)]).tolist()
        part.write_text(json.dumps({"edges": edges, "names": [file.stem for file in files]}), encoding="utf-8")
        part.replace(index)
    facts = json.loads(index.read_text(encoding="utf-8"))
    return Clips(np.load(samples, mmap_mode="r"), tuple(facts["edges"]), tuple(facts["names"]))


def _decoded(file: Path, rate: int, loudness: bool) -> Array:
    wav = read_audio(file, rate)[0][0].numpy()
    if loudness:
        wav = normalise_loudness(wav)
    return np.round(np.clip(wav, -1, 1) * 32767).astype(np.int16)
