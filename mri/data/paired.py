"""Pairs of generated slices and what an accelerated scan of them says, for the conditional net and for regressors.

Coils, mask, acceleration (2 to 12), noise and the errors of the coil maps are drawn for each pair, for a net that was
trained at one acceleration fails at another. Pairs are simulated on whole slices, so that aliases come from where they
come from in a scan, and stored; crops are taken in training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.mri.data import fields, simulate
from fewstep.mri.data.synthetic import SyntheticSlices
from fewstep.mri.models.condition import planes
from fewstep.mri.physics.masks import make
from fewstep.mri.problem import Problem, Slice, normalised

PAIRS, TOLD, FACTS = "pairs.npy", "told.npy", "pairs.json"
KINDS = ("equispaced_fraction", "random", "equispaced", "gaussian_lines")


@dataclass(frozen=True, eq=False)
class Pair:
    """A slice and its scan, both in the unit of the scan's own scale.

    Parameters
    ----------
    x0
        The slice, complex64 [1, y, x].
    one
        The scan.
    """

    x0: Tensor
    one: Slice


def draw(slices: SyntheticSlices, index: int) -> Pair:
    """Pair `index` of a list of slices; the same each time.

    Parameters
    ----------
    slices
        What is scanned.
    index
        Of the slice, and of the scan's random numbers.

    Returns
    -------
    Pair
    """
    image = slices[index]
    rng = np.random.default_rng([slices.seed, index, 1])
    shape = (slices.size, slices.size)
    maps = simulate.coils(rng, shape, int(rng.choice([1, 4, 6, 8, 12], p=[0.1, 0.2, 0.25, 0.3, 0.15])))
    noise = float(10 ** rng.uniform(-2.7, -1.4))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    kspace = simulate.acquire(image, maps, noise_std=noise, generator=generator)
    acceleration = int(rng.integers(2, 13)) if len(maps) > 1 else int(rng.integers(2, 6))
    kind = str(rng.choice(KINDS))
    centre = min(0.32 / acceleration * rng.uniform(0.8, 1.5), 0.8 / acceleration)
    mask = make(kind, shape, acceleration=acceleration, centre_fraction=centre, seed=int(rng.integers(2**31)))
    if rng.random() < 0.5:
        kspace, maps, image, mask = kspace.mT.contiguous(), maps.mT.contiguous(), image.T.contiguous(), mask.mT
    error = rng.uniform(0, 0.06)
    believed = maps * torch.from_numpy(_errors(rng, len(maps), slices.size, error))
    believed = believed / torch.linalg.vector_norm(believed, dim=0, keepdim=True)
    one = normalised(Problem((kspace * mask)[None], mask, believed[None], noise))
    return Pair(image[None] / one.scale, one)


def store(folder: str | Path, count: int, *, size: int, seed: int, share_heads: float = 0.6) -> Path:
    """Write pairs 0 to count − 1; a whole folder of the same facts is kept.

    Parameters
    ----------
    folder
        Where to write `pairs.npy` (float16, [count, 6, size, size]: slice, CG-SENSE and zero-filled image, real and
        imaginary) and `told.npy` (float32, [count, 2]: acceleration, noise).
    count
        Number of pairs.
    size, seed, share_heads
        As for `SyntheticSlices`.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    folder = Path(folder)
    facts = {"count": count, "size": size, "seed": seed, "share_heads": share_heads, "layout": 1}
    if (folder / FACTS).is_file() and json.loads((folder / FACTS).read_text(encoding="utf-8")) == facts:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    slices = SyntheticSlices(size=size, seed=seed, share_heads=share_heads)
    part = folder / f".{PAIRS}.{os.getpid()}"
    out = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=(count, 6, size, size))
    told = np.zeros((count, 2), np.float32)
    for i in range(count):
        pair = draw(slices, i)
        problem = pair.one.problem
        images = torch.cat([pair.x0, pair.one.sense, problem.A.H(problem.kspace)])
        out[i] = torch.view_as_real(images).movedim(-1, 1).reshape(6, size, size).clamp(-30, 30).numpy()
        told[i] = problem.acceleration, problem.noise_std
    out.flush()
    del out
    part.replace(folder / PAIRS)
    part = folder / f".{TOLD}.{os.getpid()}.npy"
    np.save(part, told)
    part.replace(folder / TOLD)
    part = folder / f".{FACTS}.{os.getpid()}"
    part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / FACTS)
    return folder


class PairedData(pl.LightningDataModule):
    """Crops of stored pairs: ``x0`` complex64 [batch, crop, crop] and ``cond`` float32 [batch, 6, crop, crop].

    Parameters
    ----------
    folder
        Where the pairs are kept.
    count, count_held_out
        Pairs for training, and for validation (of another seed).
    slice_size
        Rows and columns of a slice.
    crops, shares, batch_size, batches
        As for `fewstep.mri.data.crops.PriorData`.
    share_heads
        Share of heads among the slices.
    seed
        Of pairs, order and augmentation.

    Raises
    ------
    UsageError
        If a crop is larger than a slice, or crops and shares differ in number.
    """

    def __init__(
        self,
        *,
        folder: str = "runs/mri-pairs",
        count: int = 3000,
        count_held_out: int = 48,
        slice_size: int = 160,
        crops: Sequence[int] = (64, 96, 128),
        shares: Sequence[float] = (0.5, 0.3, 0.2),
        batch_size: int = 12,
        batches: int = 1000,
        share_heads: float = 0.6,
        seed: int = 0,
    ):
        super().__init__()
        if len(crops) != len(shares) or not crops or max(crops) > slice_size:
            raise UsageError(
                f"expected as many crops as shares, none above {slice_size}, got crops={list(crops)}, "
                f"shares={list(shares)}"
            )
        self.folder, self.count, self.count_held_out, self.slice_size = Path(folder), count, count_held_out, slice_size
        self.crops, self.shares, self.batch_size, self.batches = tuple(crops), tuple(shares), batch_size, batches
        self.share_heads, self.seed = share_heads, seed

    def prepare_data(self) -> None:
        """Simulate what is not there."""
        self._store("train")
        self._store("val")

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable; each item is a whole batch."""
        return ResumableLoader(PairCrops(self._store("train"), self), None, seed=self.seed, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        """Whole pairs of another seed, in order."""
        return DataLoader(WholePairs(self._store("val")), batch_size=4)

    def test_dataloader(self) -> DataLoader:
        """As in validation."""
        return self.val_dataloader()

    def _store(self, split: str) -> Path:
        count, seed = (self.count, 2 * self.seed) if split == "train" else (self.count_held_out, 2 * self.seed + 1)
        return store(self.folder / split, count, size=self.slice_size, seed=seed, share_heads=self.share_heads)


class PairCrops(Dataset):
    """Batches of crops; batch (epoch, i) depends on the seed and these two only."""

    def __init__(self, folder: Path, data: PairedData):
        self.pairs, self.told, self.data = np.load(folder / PAIRS, mmap_mode="r"), np.load(folder / TOLD), data
        self.shares = np.asarray(data.shares, float) / sum(data.shares)

    def __len__(self) -> int:
        return self.data.batches

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.data.seed, *place))
        crop = int(rng.choice(self.data.crops, p=self.shares))
        items = max(1, round(self.data.batch_size * self.data.crops[0] ** 2 / crop**2))
        chosen = [self._crop(int(i), crop, rng) for i in rng.integers(len(self.pairs), size=items)]
        return {key: torch.cat([item[key] for item in chosen]) for key in ("x0", "cond")}

    def _crop(self, index: int, crop: int, rng: np.random.Generator) -> dict[str, Tensor]:
        row, column = (int(rng.integers(n - crop + 1)) for n in self.pairs.shape[2:])
        images = _complex(self.pairs[index][:, row : row + crop, column : column + crop])
        flips = [axis for axis in (1, 2) if rng.random() < 0.5]
        images = images.flip(flips) if flips else images
        images = images.mT if rng.random() < 0.5 else images
        gain = complex(rng.uniform(0.8, 1.2) * np.exp(1j * rng.uniform(-np.pi, np.pi)))
        return _batch(images.contiguous() * gain, self.told[index], abs(gain))


class WholePairs(Dataset):
    """Pairs as they are."""

    def __init__(self, folder: Path):
        self.pairs, self.told = np.load(folder / PAIRS, mmap_mode="r"), np.load(folder / TOLD)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        batch = _batch(_complex(self.pairs[index]), self.told[index], 1.0)
        return {key: value[0] for key, value in batch.items()}


def _batch(images: Tensor, told: np.ndarray, gain: float) -> dict[str, Tensor]:
    x0, sense, zero_filled = images.unsqueeze(1)
    cond = planes(sense, zero_filled, acceleration=float(told[0]), noise_std=float(told[1]) * gain)
    return {"x0": x0, "cond": cond}


def _complex(parts: np.ndarray) -> Tensor:
    """float16 [6, y, x] -> complex64 [3, y, x]."""
    pairs = torch.from_numpy(np.asarray(parts, np.float32)).unflatten(0, (3, 2)).movedim(1, -1)
    return torch.view_as_complex(pairs.contiguous())


def _errors(rng: np.random.Generator, coils: int, size: int, error: float) -> np.ndarray:
    """A factor near 1 for each coil, smooth, complex64 [coil, y, x]: what an estimate of its map gets wrong."""
    parts = [[fields.smooth_field(rng, size, cells=int(rng.integers(2, 8))) for _ in range(2)] for _ in range(coils)]
    return np.stack([1 + error * (a + 1j * b) for a, b in parts]).astype(np.complex64)
