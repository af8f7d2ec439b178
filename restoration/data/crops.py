"""Crops of clean pictures, degraded as they are drawn, each a function of the seed, the epoch and its number.

x0 = T(crop), T one of the eight flips and transposes; (lq, mask) = degrade(x0, recipe). A crop is degraded with its
surroundings, so that its border looks as it does inside a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.restoration.data.sources import free_pictures, picture_files, read, refuse_bsd100, shrunk, unit
from fewstep.restoration.degrade.recipe import Recipe, degrade, reach, recipe


class Crops(pl.LightningDataModule):
    """Clean pictures and a recipe.

    Parameters
    ----------
    folder
        Clean pictures; None: only the free ones.
    recipe
        A name of `fewstep.restoration.degrade.recipe.RECIPES`, a YAML file, or the recipe itself.
    patch
        Canvas pixels per side of a crop; a multiple of the recipe's scale.
    shrink
        Each picture is taken at these sizes as well.
    free
        Also take the free pictures that scikit-image installs.
    held_out
        Names (without suffix) of pictures of `folder` for validation.
    n
        Crops per epoch.
    n_held_out
        Crops for validation and test, always the same ones.
    batch_size
        Crops per batch.
    seed
        Of crops, degradations and order.

    Raises
    ------
    UsageError
        If a size is not positive or does not fit the scale, or the folder has no picture that is large enough.
    """

    def __init__(
        self,
        *,
        folder: str | None = None,
        recipe: str | Mapping[str, Any] = "bicubic4",
        patch: int = 128,
        shrink: Sequence[float] = (1.0, 0.7, 0.5),
        free: bool = True,
        held_out: Sequence[str] = (),
        n: int = 16_000,
        n_held_out: int = 64,
        batch_size: int = 8,
        seed: int = 0,
    ):
        super().__init__()
        self.recipe = _recipe(recipe)
        if min(patch, n, n_held_out, batch_size) < 1 or patch % int(self.recipe["scale"]):
            raise UsageError(
                f"expected positive sizes and patch a multiple of the recipe's scale {self.recipe['scale']}, got "
                f"{patch=}, {n=}, {n_held_out=}, {batch_size=}"
            )
        if folder is None and not free:
            raise UsageError("expected folder=, or free=true: there is nothing to train on")
        self.folder, self.free, self.patch, self.shrink = folder, free, patch, tuple(shrink)
        self.held_out, self.n, self.n_held_out = frozenset(map(str, held_out)), n, n_held_out
        self.batch_size, self.seed = batch_size, seed
        self._pictures: dict[bool, list[Tensor]] = {}

    def pictures(self, *, held_out: bool = False) -> list[Tensor]:
        """uint8 [3, rows, columns] each; read once."""
        if held_out not in self._pictures:
            self._pictures[held_out] = self._read(held_out)
        return self._pictures[held_out]

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable."""
        crops = DegradedCrops(self.pictures(), self.recipe, self.patch, self.n, self.seed)
        return ResumableLoader(crops, self.batch_size, seed=self.seed, with_epoch=True, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Crops of the held-out pictures, or other crops of the same ones if none is held out."""
        crops = DegradedCrops(
            self.pictures(held_out=bool(self.held_out)), self.recipe, self.patch, self.n_held_out, self.seed + 1
        )
        return DataLoader(crops, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader:
        """As in validation."""
        return self.val_dataloader()

    def _read(self, held_out: bool) -> list[Tensor]:
        files = [] if self.folder is None else picture_files(self.folder)
        refuse_bsd100(files)
        missing = self.held_out - {file.stem for file in files}
        if missing:
            raise UsageError(f"held_out: {self.folder} has no picture called {', '.join(sorted(missing))}")
        chosen = [read(file) for file in files if (file.stem in self.held_out) == held_out]
        if self.free and not held_out:
            chosen += free_pictures()
        found = shrunk(chosen, (1.0,) if held_out else self.shrink, least=self.patch)
        if not found:
            raise UsageError(f"no picture of {self.folder} has {self.patch} pixels per side: take a smaller patch")
        return found


class DegradedCrops(Dataset):
    """``{"x0", "lq"}`` and ``"mask"`` where the recipe makes one.

    Parameters
    ----------
    pictures
        uint8, [3, rows, columns].
    how
        The recipe.
    patch, n, seed
        As for `Crops`.
    """

    def __init__(self, pictures: list[Tensor], how: Recipe, patch: int, n: int, seed: int):
        self.pictures, self.how, self.patch, self.n, self.seed = pictures, how, patch, n, seed
        self.scale = int(how["scale"])
        self.around = -(-reach(how) // self.scale) * self.scale
        self.areas = torch.tensor([float(p.shape[1] * p.shape[2]) for p in pictures]).sqrt()

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, place: int | tuple[int, int]) -> dict[str, Tensor]:
        """Item `index`, or (epoch, index)."""
        epoch, index = place if isinstance(place, tuple) else (0, place)
        generator = rng.generator(self.seed, epoch, index)
        wide, top, left = self._crop(generator)
        wide = turned(wide, torch.randint(2, (3,), generator=generator).tolist())
        seed = int(torch.randint(1 << 30, (), generator=generator))
        lq, mask = degrade(wide, self.how, seed=seed)
        small, cut = self.patch // self.scale, top // self.scale
        item = {
            "x0": wide[:, top : top + self.patch, left : left + self.patch].contiguous(),
            "lq": lq[:, cut : cut + small, cut : cut + small].contiguous(),
        }
        if mask is not None:
            item["mask"] = mask[:, top : top + self.patch, left : left + self.patch].contiguous()
        return item

    def _crop(self, generator: torch.Generator) -> tuple[Tensor, int, int]:
        picture = self.pictures[int(torch.multinomial(self.areas, 1, generator=generator))]
        room = (min(picture.shape[1:]) - self.patch) // 2
        around = min(self.around, room // self.scale * self.scale)
        size = self.patch + 2 * around
        row, column = (int(torch.randint(side - size + 1, (), generator=generator)) for side in picture.shape[1:])
        return unit(picture[:, row : row + size, column : column + size]), around, around


def turned(x: Tensor, bits: Sequence[int]) -> Tensor:
    """One of the eight flips and transposes of a square [..., n, n], chosen by three bits."""
    axes = [axis for axis, bit in ((-1, bits[0]), (-2, bits[1])) if bit]
    x = x.flip(axes) if axes else x
    return (x.transpose(-1, -2) if bits[2] else x).contiguous()


def _recipe(how: str | Mapping[str, Any]) -> Recipe:
    return recipe(how)
