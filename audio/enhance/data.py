"""Batches of clean and degraded speech: mixed on the fly from folders, or read from folders of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.audio.data.features import read_metadata
from fewstep.audio.data.split import split_by_phrase
from fewstep.audio.enhance.corpus import Clips, audio_files, decode
from fewstep.audio.enhance.level import gain_of
from fewstep.audio.enhance.mix import TASKS, Mixer
from fewstep.audio.enhance.pairs import PairedFiles, paired_files
from fewstep.audio.enhance.rooms import bank
from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader

SIDES = {"train": (0.0, 0.6), "validation": (0.6, 0.7), "test": (0.7, 1.0)}
"""Which part of every recorded noise belongs to which side."""


class Pairs(Dataset):
    """``{"x0", "y"}`` [n] of item (epoch, index), drawn from its own stream."""

    def __init__(self, draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]], count: int, seed: int):
        self.draw, self.count, self.seed = draw, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = place if isinstance(place, tuple) else (0, place)
        clean, noisy = self.draw(np.random.default_rng((self.seed, epoch, index)))
        return {"x0": torch.from_numpy(clean), "y": torch.from_numpy(noisy)}


class _EnhanceData(lightning.LightningDataModule):
    """What both sources share: crops of `frames` hops, in batches."""

    def __init__(self, *, sample_rate: int, frames: int, hop: int, batch_size: int, pairs: int, seed: int):
        super().__init__()
        self.rate, self.samples, self.batch_size, self.pairs, self.seed = (
            sample_rate, (frames - 1) * hop, batch_size, pairs, seed,
        )  # fmt: skip

    def _draws(self, side: str) -> Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]:
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader:
        pairs = Pairs(self._draws("train"), self.pairs, self.seed)
        return ResumableLoader(pairs, self.batch_size, seed=self.seed, drop_last=True, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Pairs(self._draws("validation"), 48, self.seed + 1), self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(Pairs(self._draws("test"), 96, self.seed + 2), self.batch_size)


class MixedData(_EnhanceData):
    """Clean speech with noise or in rooms, mixed on the fly.

    Parameters
    ----------
    speech
        Folder of clean recordings; with a `metadata.csv` (id|text), phrases are kept on one side.
    noise
        Folder of noises; of each, the first 60 % are for training, the next 10 % for validation, the rest for tests.
        None: generated noises only.
    rir
        Folder of impulse responses without direct sound (plates), for training alone; None: simulated rooms only.
    task
        ``"denoise"``, ``"dereverb"`` or ``"restore"``, see `fewstep.audio.enhance.mix.Mixer`.
    rooms
        Number of simulated rooms for training; a quarter as many others for validation and tests.
    snr, t60
        Ranges, dB and seconds.
    cache
        Where decoded recordings and rooms are kept.
    sample_rate, frames, hop
        Of the crops: (frames - 1) hops of samples.
    batch_size, pairs
        Pairs per batch and epoch.
    seed
        Of everything that is drawn.

    Raises
    ------
    UsageError
        If the task is unknown.
    """

    def __init__(
        self,
        *,
        speech: str,
        noise: str | None = None,
        rir: str | None = None,
        task: str = "denoise",
        rooms: int = 160,
        snr: Sequence[float] = (-5.0, 15.0),
        t60: Sequence[float] = (0.3, 1.0),
        cache: str = "runs/cache",
        sample_rate: int = 16000,
        frames: int = 256,
        hop: int = 128,
        batch_size: int = 4,
        pairs: int = 2000,
        seed: int = 0,
    ):
        super().__init__(sample_rate=sample_rate, frames=frames, hop=hop, batch_size=batch_size, pairs=pairs, seed=seed)
        if task not in TASKS:
            raise UsageError(f"expected a task out of {', '.join(TASKS)}, got {task!r}")
        self.folders, self.task, self.rooms, self.cache = (speech, noise, rir), task, rooms, cache
        self.snr, self.t60 = (float(snr[0]), float(snr[1])), (float(t60[0]), float(t60[1]))
        self.mixers: dict[str, Mixer] = {}

    def prepare_data(self) -> None:
        """Decode and simulate what the cache lacks."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """One mixer per side."""
        if self.mixers:
            return
        speech, noise, rir = self.folders
        voices = {side: decode(files, self.rate, self.cache, loudness=True) for side, files in sides_of(speech).items()}
        recorded = None if noise is None else decode(audio_files(noise), self.rate, self.cache)
        plates = None if rir is None else decode(audio_files(rir), self.rate, self.cache)
        for side, part in SIDES.items():
            training = side == "train"
            count, seed = (self.rooms, 1) if training else (max(1, self.rooms // 4), 2)
            simulated = [] if self.task != "dereverb" else bank(
                self.cache, self.rate, count=count, seed=seed, t60=self.t60
            )  # fmt: skip
            self.mixers[side] = Mixer(
                voices[side],
                self.rate,
                noise=None if recorded is None else parts_of(recorded, *part),
                responses=simulated,
                plates=plates if training else None,
                task=self.task,
                snr=self.snr,
                t60=self.t60,
                augment=training,
            )

    def _draws(self, side: str) -> Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]:
        return lambda rng: self.mixers[side].pair(rng, self.samples)


class PairedData(_EnhanceData):
    """Crops of recorded pairs in folders of VoiceBank-DEMAND's or WSJ0's layout (`fewstep.audio.enhance.pairs`).

    Parameters
    ----------
    folder
        Of the pairs.
    sample_rate, frames, hop
        Of the crops: (frames - 1) hops of samples.
    level
        ``"peak"`` or ``"loud"``, see `fewstep.audio.enhance.level`.
    batch_size, pairs
        Pairs per batch and epoch.
    seed
        Of everything that is drawn.
    """

    def __init__(
        self,
        *,
        folder: str,
        sample_rate: int = 16000,
        frames: int = 256,
        hop: int = 128,
        level: str = "peak",
        batch_size: int = 8,
        pairs: int = 2000,
        seed: int = 0,
    ):
        super().__init__(sample_rate=sample_rate, frames=frames, hop=hop, batch_size=batch_size, pairs=pairs, seed=seed)
        self.folder, self.level = folder, level
        self.files: dict[str, PairedFiles] = {}

    def setup(self, stage: str | None = None) -> None:
        """The pairs of each side."""
        self.files = self.files or paired_files(self.folder)

    def _draws(self, side: str) -> Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]:
        files = self.files[side]

        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            clean, noisy = files.read(int(rng.integers(len(files))), self.rate)
            start = int(rng.integers(0, max(1, len(noisy) - self.samples + 1)))
            clean, noisy = (
                np.pad(w, (0, max(0, self.samples - len(w))))[start:][: self.samples] for w in (clean, noisy)
            )
            gain = gain_of(noisy, self.level)
            return (gain * clean).astype(np.float32), (gain * noisy).astype(np.float32)

        return draw


def sides_of(folder: str | Path) -> dict[str, list[Path]]:
    """Recordings by side: by phrase where there are transcripts, else the last files."""
    if (Path(folder) / "metadata.csv").is_file():
        split = split_by_phrase(read_metadata(folder)[0])
        return {side: [item.file for item in getattr(split, side)] for side in SIDES}
    files = audio_files(folder)
    if len(files) < 3:
        raise UsageError(f"{folder}: expected at least three recordings, one for each side, got {len(files)}")
    kept = max(1, len(files) // 20)
    return {"train": files[: -2 * kept], "validation": files[-2 * kept : -kept], "test": files[-kept:]}


def parts_of(clips: Clips, start: float, end: float) -> Clips:
    """The same share of every clip."""
    pieces = [clips[i][int(start * clips.length(i)) : int(end * clips.length(i))] for i in range(len(clips))]
    edges = np.cumsum([0, *map(len, pieces)]).tolist()
    return Clips((np.concatenate(pieces) * 32767).astype(np.int16), tuple(edges), clips.names)
