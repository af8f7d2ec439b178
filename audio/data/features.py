"""What training needs of one recording, computed once and cached on disk: waveform, pitch and, later, durations.

A cache folder belongs to one data folder and one MelSpec. Each item is one `<id>.audio.npz` file, written under a
temporary name and renamed, so that preparation can be stopped and resumed at any point.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fewstep.audio.io import read_audio
from fewstep.audio.mel import MelSpec
from fewstep.audio.pitch import fundamental

LOUDNESS_DB = -23.0  # RMS of the active frames after normalisation, in dB of full scale
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@dataclass(frozen=True)
class Item:
    """One line of a metadata file: the recording's name, its transcript, and where the recording lies."""

    name: str
    text: str
    file: Path


@dataclass(frozen=True)
class Skipped:
    """A line or a file that cannot be used, and why."""

    name: str
    reason: str


def read_metadata(folder: str | Path) -> tuple[list[Item], list[Skipped]]:
    """Read an LJSpeech-style folder: `metadata.csv` with `id|text` or `id|text|normalised text`, and audio files.

    Recordings are looked for in `wavs/`, `audio/` and the folder itself, with any of the usual suffixes.
    Lines without a recording, recordings without a line and unreadable lines are returned as skipped.

    Raises
    ------
    FileNotFoundError
        If the folder or its metadata.csv does not exist.
    ValueError
        If no line can be used at all.
    """
    folder = Path(folder)
    table = folder / "metadata.csv"
    if not table.is_file():
        raise FileNotFoundError(f"{table} not found: a speech folder holds metadata.csv (id|text) and wavs/ or audio/")
    recordings = {
        file.stem: file
        for place in (folder, folder / "audio", folder / "wavs")
        if place.is_dir()
        for file in sorted(place.iterdir())
        if file.suffix.lower() in _SUFFIXES
    }
    items: dict[str, Item] = {}
    skipped: list[Skipped] = []
    for number, line in enumerate(table.read_bytes().splitlines(), start=1):
        try:
            name, *texts = line.decode("utf-8").strip().split("|")
        except UnicodeDecodeError:
            skipped.append(Skipped(f"metadata.csv line {number}", "is not UTF-8"))
            continue
        if not name and not texts:
            continue
        name = name.removesuffix(".wav")
        if not texts or not texts[-1].strip():
            skipped.append(Skipped(name or f"metadata.csv line {number}", f"line {number} is not 'id|text'"))
        elif name in items:
            skipped.append(Skipped(name, f"line {number} repeats this id"))
        elif name not in recordings:
            skipped.append(Skipped(name, "has a transcript but no recording"))
        else:
            items[name] = Item(name, texts[-1].strip(), recordings[name])
    known = set(items) | {s.name for s in skipped}
    skipped += [Skipped(name, "has a recording but no transcript") for name in sorted(set(recordings) - known)]
    if not items:
        raise ValueError(f"{folder}: no usable line in metadata.csv; first problem: {skipped[:1]}")
    return list(items.values()), skipped


def cache_folder(root: str | Path, folder: str | Path, spec: MelSpec) -> Path:
    """The sub-folder of `root` that belongs to this data folder and spectrogram."""
    identity = repr((str(Path(folder).resolve()), sorted(asdict(spec).items()), LOUDNESS_DB))
    return Path(root) / f"{Path(folder).resolve().name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def normalise_loudness(wav: np.ndarray, frame: int = 256) -> np.ndarray:
    """Scale so that the frames within 25 dB of the loudest have an RMS of LOUDNESS_DB, without clipping.

    Raises
    ------
    ValueError
        If the recording is digital silence.
    """
    frames = wav[: len(wav) // frame * frame].reshape(-1, frame)
    power = np.square(frames).mean(axis=1)
    if not power.size or power.max() < 1e-9:
        raise ValueError("holds only silence")
    active = power[power > power.max() * 10**-2.5].mean()
    gain = 10 ** (LOUDNESS_DB / 20) / np.sqrt(active)
    return wav * min(gain, 0.99 / max(np.abs(wav).max(), 1e-9))


def save_npz(file: Path, **arrays: np.ndarray) -> None:
    """`numpy.savez` through a temporary name."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    with open(temporary, "wb") as handle:
        np.savez(handle, **arrays)
    os.replace(temporary, file)


def _extract(item: Item, spec: MelSpec, cache: Path) -> None:
    wav = read_audio(item.file, spec.sample_rate)[0][0].numpy()
    if len(wav) < spec.sample_rate // 5:
        raise ValueError(f"lasts {len(wav) / spec.sample_rate:.2f} s: shorter than 0.2 s")
    wav = normalise_loudness(wav[: len(wav) // spec.hop * spec.hop])
    save_npz(
        cache / f"{item.name}.audio.npz",
        wav=np.round(wav * 32767).astype(np.int16),
        f0=fundamental(wav, spec),
    )


def extract_all(
    items: list[Item], spec: MelSpec, cache: Path, *, workers: int = 1, progress: bool = True
) -> list[Skipped]:
    """Fill the cache for every item that is not there yet; return the items that failed, with the reason."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [item for item in items if not (cache / f"{item.name}.audio.npz").exists()]
    return for_each(missing, partial(_extract, spec=spec, cache=cache), "waveforms and pitch", workers, progress)


def for_each(items: list[Item], job: Callable[[Item], None], label: str, workers: int, progress: bool) -> list[Skipped]:
    """Run a picklable `job` on every item in `workers` processes with a progress bar; return those that failed."""
    from rich.progress import Progress

    skipped: list[Skipped] = []
    if not items:
        return skipped
    with Progress(disable=not progress) as bar, ProcessPoolExecutor(workers) as pool:
        task = bar.add_task(label, total=len(items))
        jobs = {pool.submit(job, item): item for item in items}
        for done in as_completed(jobs):
            bar.advance(task)
            if (error := done.exception()) is not None:
                skipped.append(Skipped(jobs[done].name, str(error)))
    return sorted(skipped, key=lambda s: s.name)
