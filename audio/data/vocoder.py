"""Random crops of waveforms for training a vocoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.audio.data.features import Item, cache_folder, extract_all, read_metadata
from fewstep.audio.data.split import Split, split_by_phrase
from fewstep.audio.mel import MelSpec
from fewstep.core.lit.loader import ResumableLoader


class Crops(Dataset):
    """One random crop per recording; the crop of item (epoch, i) depends on the seed and these two only."""

    def __init__(self, wavs: Sequence[np.ndarray], samples: int, seed: int):
        self.wavs, self.samples, self.seed = wavs, samples, seed

    def __len__(self) -> int:
        return len(self.wavs)

    def __getitem__(self, place: tuple[int, int]) -> Tensor:  # float32 [samples]
        epoch, index = place
        wav = self.wavs[index]
        start = np.random.default_rng((self.seed, epoch, index)).integers(0, len(wav) - self.samples + 1)
        return torch.from_numpy(wav[start : start + self.samples].astype(np.float32) / 32768)


class VocoderData(lightning.LightningDataModule):
    """Crops of every recording of an LJSpeech-style folder.

    Parameters
    ----------
    folder : str
        Folder with `metadata.csv` and recordings.
    cache : str
        Where prepared waveforms are kept.
    frames : int
        Length of a crop, in mel frames.
    """

    def __init__(
        self,
        *,
        folder: str,
        cache: str = "runs/cache",
        mel: dict | None = None,
        frames: int = 32,
        batch_size: int = 16,
        test_phrases: int = 40,
        validation_phrases: int = 8,
        seed: int = 0,
        workers: int = 1,
    ):
        super().__init__()
        self.folder, self.cache, self.spec = folder, cache, MelSpec(**(mel or {}))
        self.samples, self.batch_size, self.seed, self.workers = frames * self.spec.hop, batch_size, seed, workers
        self.phrases = {"test": test_phrases, "validation": validation_phrases}
        self.wavs: dict[str, list[np.ndarray]] = {}

    def prepare_data(self) -> None:
        items, skipped = read_metadata(self.folder)
        skipped += extract_all(items, self.spec, self._cache, workers=self.workers)
        for bad in skipped:
            print(f"skipped {bad.name}: {bad.reason}")

    @property
    def _cache(self) -> Path:
        return cache_folder(self.cache, self.folder, self.spec)

    def setup(self, stage: str | None = None) -> None:
        if not self.wavs:
            split: Split = split_by_phrase(read_metadata(self.folder)[0], **self.phrases)
            self.wavs = {"train": self._load(split.train), "validation": self._load(split.validation)}

    def _load(self, items: Sequence[Item]) -> list[np.ndarray]:
        files = [self._cache / f"{item.name}.audio.npz" for item in items]
        wavs = [np.load(file)["wav"] for file in files if file.exists()]
        return [wav for wav in wavs if len(wav) >= self.samples]

    def train_dataloader(self) -> DataLoader:
        crops = Crops(self.wavs["train"], self.samples, self.seed + 1)
        return ResumableLoader(crops, self.batch_size, seed=self.seed, drop_last=True, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        crops = Crops(self.wavs["validation"], self.samples, self.seed)
        return DataLoader(crops, self.batch_size, sampler=[(0, i) for i in range(len(crops))])
