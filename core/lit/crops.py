"""Random crops of the pictures of a folder, the plainest data for an image net."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


class Crops(pl.LightningDataModule):
    """Square crops of pictures made smaller, half of them mirrored, each a function of the seed and its number.

    Parameters
    ----------
    folder
        Pictures (PNG, JPEG, TIFF, WebP), read in order of their names.
    size
        Pixels per side of a crop.
    shrink
        Each picture is taken at these fractions of its size, averaged over squares.
    n
        Crops per epoch.
    n_held_out
        Crops for validation, for test and for prediction: other crops of the same pictures.
    batch_size
        Crops per batch.
    seed
        Of the crops and their order.

    Raises
    ------
    UsageError
        If a size is not positive, or no picture of the folder is large enough.
    """

    def __init__(
        self,
        folder: str,
        *,
        size: int = 32,
        shrink: tuple[int, ...] = (4, 8),
        n: int = 2**18,
        n_held_out: int = 1024,
        batch_size: int = 32,
        seed: int = 0,
    ):
        super().__init__()
        if min(size, n, n_held_out, batch_size, *shrink) < 1:
            raise UsageError(f"expected positive sizes, got {size=}, {n=}, {n_held_out=}, {batch_size=}, {shrink=}")
        self.folder, self.size, self.shrink = Path(folder), size, tuple(shrink)
        self.n, self.n_held_out, self.batch_size, self.seed = n, n_held_out, batch_size, seed
        self._pictures: list[Tensor] | None = None

    @property
    def pictures(self) -> list[Tensor]:
        """All pictures at all fractions, [3, rows, columns] in [-1, 1]; read once."""
        if self._pictures is None:
            self._pictures = read_pictures(self.folder, shrink=self.shrink, least=self.size)
        return self._pictures

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable."""
        return ResumableLoader(_Crops(self.pictures, self.size, self.n, self.seed), self.batch_size, seed=self.seed)

    def val_dataloader(self) -> DataLoader:
        """Other crops, in order."""
        return self._held_out(1)

    def test_dataloader(self) -> DataLoader:
        """Other crops, in order."""
        return self._held_out(2)

    def predict_dataloader(self) -> DataLoader:
        """Seeds, one for each picture to draw."""
        return DataLoader(_Seeds(self.n_held_out, self.size), batch_size=self.batch_size)

    def _held_out(self, part: int) -> DataLoader:
        crops = _Crops(self.pictures, self.size, self.n_held_out, self.seed + part)
        return DataLoader(crops, batch_size=self.batch_size)


def read_pictures(folder: Path, *, shrink: tuple[int, ...] = (1,), least: int = 1) -> list[Tensor]:
    """The pictures of a folder as they are and smaller.

    Parameters
    ----------
    folder
        Where they are.
    shrink
        Squares of so many pixels per side are averaged; one result for each number.
    least
        Results with a side below this are left out.

    Returns
    -------
    list of Tensor
        Float32, [3, rows, columns] in [-1, 1].

    Raises
    ------
    UsageError
        If nothing is left.
    """
    from PIL import Image

    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    found = []
    for file in files:
        with Image.open(file) as opened:
            pixels = torch.from_numpy(np.asarray(opened.convert("RGB"), dtype=np.float32))
        picture = pixels.permute(2, 0, 1)[None] / 127.5 - 1
        found += [functional.avg_pool2d(picture, k)[0] for k in shrink if min(picture.shape[-2:]) >= k * least]
    if not found:
        raise UsageError(
            f"expected pictures ({', '.join(SUFFIXES)}) of at least {least * min(shrink)} pixels per side in {folder}, "
            f"found {len(files)} files with such names and none large enough"
        )
    return found


def crop(pictures: list[Tensor], size: int, generator: torch.Generator) -> Tensor:
    """One random crop, mirrored by a coin.

    Parameters
    ----------
    pictures
        [3, rows, columns], none smaller than the crop; each is as likely as any other.
    size
        Pixels per side.
    generator
        On the CPU.

    Returns
    -------
    Tensor
        [3, size, size].
    """
    picture = pictures[int(torch.randint(len(pictures), (1,), generator=generator))]
    top, left = (int(torch.randint(side - size + 1, (1,), generator=generator)) for side in picture.shape[1:])
    cut = picture[:, top : top + size, left : left + size]
    return cut.flip(-1) if torch.rand((), generator=generator) < 0.5 else cut.clone()


class _Crops(Dataset):
    def __init__(self, pictures: list[Tensor], size: int, n: int, seed: int):
        self._pictures, self._size, self._n, self._seed = pictures, size, n, seed

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x0": crop(self._pictures, self._size, rng.generator(self._seed, index))}


class _Seeds(Dataset):
    def __init__(self, n: int, size: int):
        self._n, self._size = n, size

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"seed": torch.tensor(index), "shape": torch.tensor([3, self._size, self._size])}
