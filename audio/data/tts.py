"""Batches for acoustic models: tokens, durations, pitch, energy and mel of whole recordings, in buckets by length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from fewstep.audio.data.align import align_all, is_aligned
from fewstep.audio.data.features import Item, cache_folder, extract_all, read_metadata
from fewstep.audio.data.split import split_by_phrase
from fewstep.audio.mel import MelSpec, mel_spectrogram
from fewstep.audio.models.prodiff import Statistics
from fewstep.core.lit.loader import ResumableLoader


@dataclass(frozen=True)
class Utterance:
    """One recording: tokens and durations int64 [L]; log-mel [M, T]; log-F0 (interpolated), voiced, log-energy [T]."""

    tokens: Tensor
    durations: Tensor
    mel: Tensor
    pitch: Tensor
    voiced: Tensor
    energy: Tensor


def log_energy(mel: Tensor) -> Tensor:
    """Natural log of the mean mel magnitude per frame: [..., M, T] (natural-log mel) -> [..., T]."""
    return mel.logsumexp(dim=-2) - np.log(mel.shape[-2])


def log_pitch(f0: np.ndarray) -> tuple[Tensor, Tensor]:
    """Log-F0 interpolated through unvoiced frames, and 1 where voiced: [T] Hz (0 = unvoiced) -> two of [T]."""
    voiced = f0 > 0
    if not voiced.any():
        return torch.zeros(len(f0)), torch.zeros(len(f0))
    filled = np.interp(np.arange(len(f0)), np.flatnonzero(voiced), np.log(f0[voiced]))
    return torch.from_numpy(filled.astype(np.float32)), torch.from_numpy(voiced.astype(np.float32))


def load_utterance(item: Item, cache: Path, spec: MelSpec) -> Utterance:
    """One item from the cache."""
    audio, aligned = np.load(cache / f"{item.name}.audio.npz"), np.load(cache / f"{item.name}.align.npz")
    wav = torch.from_numpy(audio["wav"].astype(np.float32) / 32768)
    mel = mel_spectrogram(wav, spec)
    frames = mel.shape[-1]
    pitch, voiced = log_pitch(np.pad(audio["f0"], (0, max(0, frames - len(audio["f0"]))))[:frames])
    tokens, durations = (torch.from_numpy(aligned[key].astype(np.int64)) for key in ("tokens", "durations"))
    return Utterance(tokens, durations, mel, pitch, voiced, log_energy(mel))


def statistics(utterances: Sequence[Utterance]) -> Statistics:
    """Mean and standard deviation over all frames (pitch: over voiced frames)."""
    mel = torch.cat([u.mel.flatten() for u in utterances])
    pitch = torch.cat([u.pitch[u.voiced > 0] for u in utterances])
    energy = torch.cat([u.energy for u in utterances])
    return Statistics(*((float(x.double().mean()), float(x.double().std())) for x in (mel, pitch, energy)))


def collate(batch: Sequence[Utterance]) -> dict[str, Tensor]:
    """Pad a batch with zeros; `frame_mask` [B, 1, T] is 1 at real frames."""
    pad = {name: [getattr(u, name) for u in batch] for name in ("tokens", "durations", "pitch", "voiced", "energy")}
    out = {name: pad_sequence(values, batch_first=True) for name, values in pad.items()}
    out["mel"] = pad_sequence([u.mel.T for u in batch], batch_first=True).transpose(1, 2)
    out["frame_mask"] = pad_sequence([torch.ones(u.mel.shape[1]) for u in batch], batch_first=True)[:, None]
    return out


class Utterances(Dataset):
    """A list of utterances."""

    def __init__(self, utterances: Sequence[Utterance]):
        self.utterances = utterances

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]


def buckets(lengths: Sequence[int], batch_size: int, seed: tuple[int, ...]) -> list[list[int]]:
    """Batches of recordings of similar length, in an order that depends on the seed only."""
    generator = np.random.default_rng(seed)
    jitter = generator.uniform(0.9, 1.1, len(lengths))
    order = np.argsort(np.asarray(lengths) * jitter, kind="stable")
    batches = [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


class Batches(Dataset):
    """Padded batches of similar lengths; item (epoch, i) is batch i of that epoch."""

    def __init__(self, utterances: Sequence[Utterance], batch_size: int, seed: int):
        self.utterances, self.batch_size, self.seed = utterances, batch_size, seed
        self._lengths = [u.mel.shape[1] for u in utterances]

    def __len__(self) -> int:
        return math.ceil(len(self.utterances) / self.batch_size)

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Tensor]:
        epoch, i = place
        return collate([self.utterances[j] for j in self._batches(epoch)[i]])

    @lru_cache(maxsize=2)  # noqa: B019 (as long as the data module)
    def _batches(self, epoch: int) -> list[list[int]]:
        return buckets(self._lengths, self.batch_size, (self.seed, epoch))


class SpeechData(lightning.LightningDataModule):
    """Aligned utterances of an LJSpeech-style folder.

    Parameters
    ----------
    folder, cache : str
        Folder with `metadata.csv` and recordings; where prepared features are kept.
    test_phrases, validation_phrases : int
        Phrases kept out of training (see `split_by_phrase`).
    max_seconds : float
        Longer recordings are left out.
    """

    def __init__(
        self,
        *,
        folder: str,
        cache: str = "runs/cache",
        mel: dict | None = None,
        batch_size: int = 16,
        test_phrases: int = 40,
        validation_phrases: int = 8,
        max_seconds: float = 12.0,
        seed: int = 0,
        workers: int = 1,
    ):
        super().__init__()
        self.folder, self.cache, self.spec = folder, cache, MelSpec(**(mel or {}))
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.phrases = {"test": test_phrases, "validation": validation_phrases}
        self.max_frames = int(max_seconds * self.spec.frame_rate)
        self.utterances: dict[str, list[Utterance]] = {}

    @property
    def _cache(self) -> Path:
        return cache_folder(self.cache, self.folder, self.spec)

    def prepare_data(self) -> None:
        items, skipped = read_metadata(self.folder)
        skipped += extract_all(items, self.spec, self._cache, workers=self.workers)
        skipped += align_all(items, self.spec, self._cache, workers=self.workers)
        for bad in skipped:
            print(f"skipped {bad.name}: {bad.reason}")

    def setup(self, stage: str | None = None) -> None:
        if not self.utterances:
            split = split_by_phrase(read_metadata(self.folder)[0], **self.phrases)
            sides = {"train": split.train, "validation": split.validation, "test": split.test}
            self.utterances = {side: self._load(items) for side, items in sides.items()}

    def _load(self, items: Sequence[Item]) -> list[Utterance]:
        ready = [item for item in items if is_aligned(item, self._cache)]
        utterances = [load_utterance(item, self._cache, self.spec) for item in ready]
        return [u for u in utterances if u.mel.shape[1] <= self.max_frames]

    def statistics(self) -> Statistics:
        """Of the training set."""
        return statistics(self.utterances["train"])

    def train_dataloader(self) -> DataLoader:
        batches = Batches(self.utterances["train"], self.batch_size, self.seed)
        return ResumableLoader(batches, None, shuffle=False, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        return self._in_order("validation")

    def test_dataloader(self) -> DataLoader:
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader:
        return self._in_order("test")

    def _in_order(self, side: str) -> DataLoader:
        return DataLoader(Utterances(self.utterances[side]), batch_size=self.batch_size, collate_fn=collate)
