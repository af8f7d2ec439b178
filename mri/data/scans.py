"""Scans for regressors, item by item: simulated ones of generated slices, or fully sampled files undersampled anew.

An item is a mapping with ``kspace`` [coil, y, x], ``mask`` [y, x], ``coil_maps`` [coil, y, x], ``noise_std``, all in
the unit of the slice, ``start`` (CG-SENSE) and ``x0`` [y, x].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.core.operators import Fourier
from fewstep.mri.data.paired import Pair, draw
from fewstep.mri.data.synthetic import SyntheticSlices
from fewstep.mri.physics import estimate_maps, noise_std
from fewstep.mri.physics.masks import make
from fewstep.mri.problem import Problem, normalised


class SimulatedScans(pl.LightningDataModule):
    """Scans simulated on the fly from generated slices; coils, mask, acceleration and noise differ from item to item.

    Parameters
    ----------
    count, count_held_out
        Items of an epoch, and for validation (of another seed).
    slice_size
        Rows and columns.
    share_heads
        Share of heads among the slices.
    seed
        Of slices, scans and order.
    workers
        Processes that simulate.
    """

    def __init__(
        self,
        *,
        count: int = 1000,
        count_held_out: int = 16,
        slice_size: int = 160,
        share_heads: float = 0.6,
        seed: int = 0,
        workers: int = 0,
    ):
        super().__init__()
        self.count, self.count_held_out, self.workers, self.seed = count, count_held_out, workers, seed
        self.options = {"size": slice_size, "share_heads": share_heads}

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable, one scan at a time; other scans in each epoch."""
        scans = Simulated(SyntheticSlices(seed=2 * self.seed, **self.options), self.count)
        return ResumableLoader(scans, 1, seed=self.seed, with_epoch=True, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader:
        """Scans of another seed, in order."""
        return DataLoader(Simulated(SyntheticSlices(seed=2 * self.seed + 1, **self.options), self.count_held_out))

    def test_dataloader(self) -> DataLoader:
        """As in validation."""
        return self.val_dataloader()


class Simulated(Dataset):
    """Items of a list of slices; asked with (epoch, index), epochs differ."""

    def __init__(self, slices: SyntheticSlices, count: int):
        self.slices, self.count = slices, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = place if isinstance(place, tuple) else (0, place)
        return as_item(draw(self.slices, epoch * self.count + index))


class FileScans(pl.LightningDataModule):
    """Fully sampled scans from files (fastMRI, ISMRMRD and whatever `fewstep.mri.read` knows), undersampled anew.

    The target is the combination of the fully sampled coil images by maps from 24 calibration lines.

    Parameters
    ----------
    folder
        With the files; those of the last tenth in order of names are held out.
    kinds
        Of masks, see `fewstep.mri.physics.masks.KINDS`.
    accelerations, centre_fractions
        Pairs of which each item draws one.
    seed
        Of masks and order.
    workers
        Processes that read.

    Raises
    ------
    UsageError
        If there is no file, a scan is not fully sampled, or accelerations and fractions differ in number.
    """

    def __init__(
        self,
        folder: str,
        *,
        kinds: Sequence[str] = ("equispaced_fraction", "random"),
        accelerations: Sequence[int] = (4, 8),
        centre_fractions: Sequence[float] = (0.08, 0.04),
        seed: int = 0,
        workers: int = 0,
    ):
        super().__init__()
        if len(accelerations) != len(centre_fractions) or not accelerations or not kinds:
            raise UsageError(
                f"expected as many centre_fractions as accelerations, got {list(accelerations)} and "
                f"{list(centre_fractions)}"
            )
        self.folder, self.kinds, self.seed, self.workers = Path(folder), tuple(kinds), seed, workers
        self.pairs = tuple(zip(accelerations, centre_fractions, strict=True))
        self._files: list[Path] = []

    def setup(self, stage: str | None = None) -> None:
        """Find the files."""
        self._files = sorted(file for file in self.folder.rglob("*") if file.suffix in (".h5", ".hdf5", ".mrd", ".dat"))
        if not self._files:
            raise UsageError(f"expected k-space files (.h5, .mrd, .dat) in {self.folder}, found none")

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable, one slice at a time."""
        kept = self._files[: max(1, len(self._files) - len(self._files) // 10)]
        scans = Undersampled(kept, self.kinds, self.pairs, self.seed)
        return ResumableLoader(scans, 1, seed=self.seed, with_epoch=True, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader:
        """The files that are held out (all, if there are fewer than ten), in order."""
        kept = self._files[len(self._files) - len(self._files) // 10 :] or self._files
        return DataLoader(Undersampled(kept, self.kinds, self.pairs, self.seed + 1))

    def test_dataloader(self) -> DataLoader:
        """As in validation."""
        return self.val_dataloader()


class Undersampled(Dataset):
    """Slices of fully sampled files, each with a mask of its own; asked with (epoch, index), masks differ by epoch."""

    def __init__(self, files: Sequence[Path], kinds: Sequence[str], pairs: Sequence[tuple[int, float]], seed: int):
        from fewstep.mri.read import read_scans

        self.kinds, self.pairs, self.seed = kinds, pairs, seed
        scans = [scan for file in files for scan in read_scans(file)]
        for scan in scans:
            if not bool(scan.mask.all()):
                raise UsageError(f"{scan.info.file}: expected a fully sampled scan to train on")
        self.slices = [(scan.kspace[i], scan.info.file) for scan in scans for i in range(len(scan.kspace))]

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, place: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = place if isinstance(place, tuple) else (0, place)
        rng = np.random.default_rng((self.seed, epoch, index))
        acceleration, centre = self.pairs[int(rng.integers(len(self.pairs)))]
        kspace = self.slices[index][0].unsqueeze(0)
        shape = (kspace.shape[-2], kspace.shape[-1])
        kind, seed = str(rng.choice(list(self.kinds))), int(rng.integers(2**31))
        mask = make(kind, shape, acceleration=acceleration, centre_fraction=centre, seed=seed)
        return as_item(undersampled(kspace, mask))


def undersampled(kspace: Tensor, mask: Tensor) -> Pair:
    """A fully sampled slice with and without what a mask takes away.

    Parameters
    ----------
    kspace
        complex64 [1, coil, y, x], fully sampled.
    mask
        bool, broadcasts to [y, x].

    Returns
    -------
    Pair
        Coil maps come from the mask's calibration lines for the scan, from all data for the target.
    """
    whole = torch.ones(1, 1, dtype=torch.bool)
    best = estimate_maps(kspace, whole).maps
    images = Fourier(tuple(kspace.shape[1:]), (-2, -1)).apply_adjoint(kspace)
    target = (best.conj() * images).sum(1)
    few = kspace * mask
    one = normalised(Problem(few, mask, estimate_maps(few, mask).maps, noise_std(few, mask)))
    return Pair(target / one.scale, one)


def as_item(pair: Pair) -> dict[str, Tensor]:
    """A pair as the mapping that is described above."""
    problem = pair.one.problem
    height, width = problem.kspace.shape[-2:]
    return {
        "kspace": problem.kspace[0],
        "mask": problem.mask.expand(1, height, width)[0].contiguous(),
        "coil_maps": problem.coil_maps[0],
        "noise_std": torch.tensor(problem.noise_std),
        "start": pair.one.sense[0],
        "x0": pair.x0[0],
    }
