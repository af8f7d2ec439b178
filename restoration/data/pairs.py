"""Pairs of degraded and clean pictures on disk, matched by name.

Layouts that others write are read as they are: ``input/`` and ``target/`` (Restormer), ``LQ/`` and ``GT/`` (IR-SDE),
Layouts of others are read as they are: ``input/`` and ``target/`` (Restormer), ``LQ/`` and ``GT/`` (IR-SDE),
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.restoration.data.crops import turned
from fewstep.restoration.data.sources import picture_files, read, refuse_bsd100, unit
from fewstep.restoration.degrade.recipe import recipe

LAYOUTS = (("input", "target"), ("LQ", "GT"), ("lq", "gt"))


@dataclass(frozen=True)
class Pair:
    """Files of one picture, and its size on the canvas (rows, columns)."""

    lq: Path
    gt: Path
    size: tuple[int, int]


def find_pairs(
    gt: str | Path,
    lq: str | Path | None = None,
    *,
    scale: int = 1,
    suffix: str = "{}",
    listed: str | Path | None = None,
) -> list[Pair]:
    """Match the pictures of two folders and compare their sizes, before anything is trained.

    Parameters
    ----------
    gt
        Clean pictures; or a folder that holds one of `LAYOUTS`, if `lq` is None.
    lq
        Degraded pictures.
    scale
        Canvas pixels per degraded pixel.
    suffix
        Name of a degraded picture without its ending, ``{}`` being that of the clean one: ``"{}x4"``.
    listed
        A file like BasicSR's meta_info.txt: a name of a clean picture at the start of each line; others are left out.

    Returns
    -------
    list of Pair
        By name.

    Raises
    ------
    UsageError
        If a picture has no partner, sizes do not fit, or the pictures are those of BSDS500/val.
    """
    gt, lq = _folders(Path(gt), None if lq is None else Path(lq))
    clean = picture_files(gt)
    refuse_bsd100(clean)
    if listed is not None:
        wanted = {Path(line.split()[0]).stem for line in Path(listed).read_text(encoding="utf-8").splitlines() if line}
        clean = [file for file in clean if file.stem in wanted]
    degraded = {file.stem: file for file in picture_files(lq)}
    missing = [file.name for file in clean if suffix.format(file.stem) not in degraded]
    if missing or not clean:
        raise UsageError(
            f"{lq}: {len(missing)} of {len(clean)} pictures have no partner called {suffix}: {missing[:3]}"
        )
    pairs, faults = [], []
    for file in clean:
        other = degraded[suffix.format(file.stem)]
        big, small = _size(file), _size(other)
        fits = all(b // scale == s for b, s in zip(big, small, strict=True))
        pairs.append(Pair(other, file, (small[0] * scale, small[1] * scale)))
        if not fits:
            faults.append(f"{file.name} is {big[0]} x {big[1]}, its partner {small[0]} x {small[1]}")
    if faults:
        raise UsageError(f"{len(faults)} pairs do not differ by the scale {scale}: {'; '.join(faults[:3])}")
    return pairs


class Pairs(pl.LightningDataModule):
    """Crops of pairs on disk.

    Parameters
    ----------
    gt, lq, suffix, listed
        See `find_pairs`.
    recipe
        Names the task and scale, and what the checkpoint says of the degradation; its steps are not applied.
    patch
        Canvas pixels per side of a crop.
    n, n_held_out, batch_size, seed
        As for `fewstep.restoration.data.crops.Crops`; one pair in twenty is held out, at least one.

    Raises
    ------
    UsageError
        If there are fewer than two pairs, or a picture is smaller than a crop.
    """

    def __init__(
        self,
        gt: str,
        *,
        lq: str | None = None,
        suffix: str = "{}",
        listed: str | None = None,
        recipe: str | Mapping[str, Any] = "bicubic4",
        patch: int = 128,
        n: int = 16_000,
        n_held_out: int = 64,
        batch_size: int = 8,
        seed: int = 0,
    ):
        super().__init__()
        self.recipe = _recipe(recipe)
        self.scale = int(self.recipe["scale"])
        self.where: dict[str, Any] = {"gt": gt, "lq": lq, "suffix": suffix, "listed": listed, "scale": self.scale}
        self.patch, self.n, self.n_held_out = patch, n, n_held_out
        self.batch_size, self.seed = batch_size, seed
        self.train: list[Pair] = []
        self.val: list[Pair] = []

    def setup(self, stage: str) -> None:
        """Match the files and compare sizes."""
        pairs = find_pairs(**self.where)
        small = [pair.gt.name for pair in pairs if min(pair.size) < self.patch]
        if small or len(pairs) < 2:
            raise UsageError(
                f"expected two pairs or more of at least {self.patch} pixels per side, got {len(pairs)}, smaller: "
                f"{small[:3]}"
            )
        every = 20 if len(pairs) >= 20 else len(pairs)
        self.train = [pair for i, pair in enumerate(pairs) if i % every]
        self.val = pairs[::every]

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable."""
        crops = PairedCrops(self.train, self.scale, self.patch, self.n, self.seed)
        return ResumableLoader(crops, self.batch_size, seed=self.seed, with_epoch=True, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Crops of the pairs that are held out."""
        crops = PairedCrops(self.val, self.scale, self.patch, self.n_held_out, self.seed + 1)
        return DataLoader(crops, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader:
        """As in validation."""
        return self.val_dataloader()


class PairedCrops(Dataset):
    """``{"x0", "lq"}`` of crops, flipped and transposed together; files are kept in memory as they are read."""

    def __init__(self, pairs: Sequence[Pair], scale: int, patch: int, n: int, seed: int):
        self.pairs, self.scale, self.patch, self.n, self.seed = list(pairs), scale, patch, n, seed
        self.read: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, place: int | tuple[int, int]) -> dict[str, Tensor]:
        """Item `index`, or (epoch, index)."""
        epoch, index = place if isinstance(place, tuple) else (0, place)
        generator = rng.generator(self.seed, epoch, index)
        which = int(torch.randint(len(self.pairs), (), generator=generator))
        if which not in self.read:
            self.read[which] = (read(self.pairs[which].lq), read(self.pairs[which].gt))
        lq, gt = self.read[which]
        small = self.patch // self.scale
        row, column = (int(torch.randint(n - small + 1, (), generator=generator)) for n in lq.shape[1:])
        x0 = gt[:, row * self.scale :, column * self.scale :][:, : self.patch, : self.patch]
        x0, lq = unit(x0), unit(lq[:, row : row + small, column : column + small])
        bits = torch.randint(2, (3,), generator=generator).tolist()
        return {"x0": turned(x0, bits), "lq": turned(lq, bits)}


def _folders(gt: Path, lq: Path | None) -> tuple[Path, Path]:
    if lq is not None:
        return gt, lq
    for degraded, clean in LAYOUTS:
        if (gt / degraded).is_dir() and (gt / clean).is_dir():
            return gt / clean, gt / degraded
    known = ", ".join(f"{a}/ and {b}/" for a, b in LAYOUTS)
    raise UsageError(f"{gt}: expected {known} inside, or lq=FOLDER beside gt=FOLDER")


def _size(file: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(file) as opened:
            return opened.height, opened.width
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a picture: {error}") from None


def _recipe(how: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return recipe(how)
