"""Crops of generated slices as batches for a prior: whole batches of one crop size, augmented.

x0 = gain e^{i phi} T(crop),   T one of the eight flips and transposes, phi uniform: the prior does not know a phase
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.mri.data.synthetic import store


class PriorData(pl.LightningDataModule):
    """Generated slices, written once, then cropped at random.

    Parameters
    ----------
    folder
        Where the generated slices are kept; a folder that already holds them is used as it is.
    count, count_held_out
        Slices for training, and for validation (of another seed).
    slice_size
        Rows and columns of a slice.
    crops, shares
        Crop sizes and how often a batch takes each; a larger crop means fewer items, so that batches cost the same.
    batch_size
        Items of a batch of the first crop size.
    batches
        Batches of an epoch.
    share_heads
        Share of heads among the slices.
    seed
        Of slices, order and augmentation.

    Raises
    ------
    UsageError
        If a crop is larger than a slice, or crops and shares differ in number.
    """

    def __init__(
        self,
        *,
        folder: str = "runs/mri-data",
        count: int = 3000,
        count_held_out: int = 48,
        slice_size: int = 160,
        crops: Sequence[int] = (64, 96, 128),
        shares: Sequence[float] = (0.6, 0.25, 0.15),
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
        """Generate what is not there."""
        self._store("train")
        self._store("val")

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable; each item is a whole batch."""
        slices = np.load(self._store("train"), mmap_mode="r")
        batches = Crops(slices, self.crops, self.shares, self.batch_size, self.batches, self.seed)
        return ResumableLoader(batches, None, seed=self.seed, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        """Whole slices of another seed, in order."""
        return DataLoader(Whole(np.load(self._store("val"), mmap_mode="r")), batch_size=4)

    def test_dataloader(self) -> DataLoader:
        """As in validation."""
        return self.val_dataloader()

    def _store(self, split: str) -> Path:
        count, seed = (self.count, 2 * self.seed) if split == "train" else (self.count_held_out, 2 * self.seed + 1)
        options = {"size": self.slice_size, "seed": seed, "share_heads": self.share_heads}
        return store(self.folder / split, count, **options)


class Crops(Dataset):
    """Batches of crops; batch (epoch, i) depends on the seed and these two only."""

    def __init__(
        self,
        slices: NDArray[np.float16],
        crops: Sequence[int],
        shares: Sequence[float],
        batch_size: int,
        batches: int,
        seed: int,
    ):
        self.slices, self.crops, self.batch_size, self.batches, self.seed = slices, crops, batch_size, batches, seed
        self.shares = np.asarray(shares, float) / sum(shares)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Tensor]:  # x0: complex64 [batch, crop, crop]
        rng = np.random.default_rng((self.seed, *place))
        crop = int(rng.choice(self.crops, p=self.shares))
        items = max(1, round(self.batch_size * self.crops[0] ** 2 / crop**2))
        which = rng.integers(len(self.slices), size=items)
        return {"x0": torch.stack([augmented(self.slices[i], crop, rng) for i in which])}


class Whole(Dataset):
    """Slices as they are."""

    def __init__(self, slices: NDArray[np.float16]):
        self.slices = slices

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x0": as_complex(self.slices[index])}


def augmented(slice_: NDArray[np.float16], crop: int, rng: np.random.Generator) -> Tensor:
    """A random crop, flipped, transposed, with another phase and gain.

    Parameters
    ----------
    slice_
        Float16, [2, rows, columns]: real and imaginary part.
    crop
        Rows and columns of the result.
    rng
        Source of randomness.

    Returns
    -------
    Tensor
        Complex64, [crop, crop].
    """
    row, column = (int(rng.integers(n - crop + 1)) for n in slice_.shape[1:])
    x = as_complex(slice_[:, row : row + crop, column : column + crop])
    flips = [axis for axis in (0, 1) if rng.random() < 0.5]
    x = x.flip(flips) if flips else x
    x = x.T if rng.random() < 0.5 else x
    gain, angle = rng.uniform(0.7, 1.3), rng.uniform(-np.pi, np.pi)
    return x * complex(gain * np.exp(1j * angle))


def as_complex(parts: NDArray[np.float16]) -> Tensor:
    """Float16 [2, rows, columns] -> complex64 [rows, columns]."""
    return torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(parts.transpose(1, 2, 0), np.float32)))
