"""Pairs of noise and where a teacher carries it, drawn once and kept on disk."""

import hashlib
from pathlib import Path

import lightning.pytorch as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core import solvers, times
from fewstep.core.distill.reflow import pairs
from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.core.pretrained import Pretrained


class PairData(pl.LightningDataModule):
    """Pairs of an unconditional teacher; an eighth of them are for validation.

    Parameters
    ----------
    teacher
        A model that ships, a folder or a hub id.
    shape
        Of one item.
    n, batch_size
        Number of pairs, and per batch (of training and of drawing them).
    steps
        Of the teacher (second-order multistep, even times).
    cache
        Folder that keeps them; a file there is used again for the same weights, shape, number, steps and seed.
    seed
        Of the noise and of the order.

    Raises
    ------
    UsageError
        If there are fewer than eight pairs.
    """

    def __init__(
        self,
        *,
        teacher: str,
        shape: tuple[int, ...] | list[int],
        n: int = 8192,
        batch_size: int = 256,
        steps: int = 32,
        cache: str = "runs/cache",
        seed: int = 0,
    ):
        super().__init__()
        if n < 8:
            raise UsageError(f"expected at least 8 pairs, got n={n}")
        self.teacher, self.shape, self.n, self.batch_size = teacher, tuple(shape), n, batch_size
        self.steps, self.cache, self.seed = steps, Path(cache), seed

    def prepare_data(self) -> None:
        """Draw what is not there yet."""
        file = self._file()
        if file.is_file():
            return
        model = Pretrained.load(self.teacher)
        grid, found = times.uniform(model.path, self.steps), []
        for first in range(0, self.n, self.batch_size):
            seeds = [self.seed * 1_000_003 + i for i in range(first, min(first + self.batch_size, self.n))]
            shape = (len(seeds), *self.shape)
            found.append(
                pairs(model.denoise(), model.path, shape=shape, times=grid, solver=solvers.dpmpp_2m(), seeds=seeds)
            )
        eps, x0 = (torch.cat(part).contiguous() for part in zip(*found, strict=True))
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        save_file({"eps": eps, "x0": x0}, part)
        part.replace(file)

    def setup(self, stage: str | None = None) -> None:
        """Read them."""
        self.kept = load_file(self._file())

    def train_dataloader(self) -> DataLoader:
        """Seven eighths, shuffled, resumable."""
        return ResumableLoader(_Pairs(self.kept, self.n // 8, self.n), self.batch_size, seed=self.seed)

    def val_dataloader(self) -> DataLoader:
        """The others, in order."""
        return DataLoader(_Pairs(self.kept, 0, self.n // 8), batch_size=self.batch_size)

    def _file(self) -> Path:
        digest = Pretrained.load(self.teacher).config.get("sha256")
        key = repr((digest, self.shape, self.n, self.steps, self.seed))
        return self.cache / f"pairs-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"


class _Pairs(Dataset):
    def __init__(self, kept: dict[str, Tensor], first: int, last: int):
        self._kept = {name: value[first:last] for name, value in kept.items()}

    def __len__(self) -> int:
        return len(self._kept["x0"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value[index] for name, value in self._kept.items()}
