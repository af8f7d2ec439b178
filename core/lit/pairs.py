"""Pairs of noise and where a teacher carries it, drawn once and kept on disk."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core import guide, solvers, times
from fewstep.core.distill.reflow import pairs
from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.core.pretrained import Pretrained

PARTS = ("y", "cond", "uncond", "mask")


class PairData(pl.LightningDataModule):
    """Pairs of a teacher; an eighth of them are for validation.

    Parameters
    ----------
    teacher
        A model that ships, a folder or a hub id.
    shape
        Of one item; not needed with `data`.
    data
        Data module whose training batches give what the teacher is told (tensors ``y``, ``cond``, ``uncond``,
        ``mask``), for a teacher that is not unconditional; they are kept with the pairs.
    guidance_scale
        Of the teacher, with ``uncond``; the student learns the guided end points in one call.
    n, batch_size
        Number of pairs, and per batch (of training and of drawing them).
    steps
        Of the teacher (second-order multistep, even times).
    cache
        Folder that keeps them; a file there is used again for the same weights, shape, number, steps, seed and
        guidance. With `data` give each set a folder of its own.
    seed
        Of the noise and of the order.

    Raises
    ------
    UsageError
        If there are fewer than eight pairs, neither `shape` nor `data`, or guidance without ``uncond``.
    """

    def __init__(
        self,
        *,
        teacher: str,
        shape: tuple[int, ...] | list[int] | None = None,
        data: pl.LightningDataModule | None = None,
        guidance_scale: float = 1.0,
        n: int = 8192,
        batch_size: int = 256,
        steps: int = 32,
        cache: str = "runs/cache",
        seed: int = 0,
    ):
        super().__init__()
        if n < 8:
            raise UsageError(f"expected at least 8 pairs, got n={n}")
        if shape is None and data is None:
            raise UsageError("pairs need the `shape` of an item, or `data` that tell it")
        self.teacher, self.n, self.batch_size, self.data = teacher, n, batch_size, data
        self.shape = None if shape is None else tuple(shape)
        self.steps, self.cache, self.seed, self.guidance_scale = steps, Path(cache), seed, guidance_scale

    def prepare_data(self) -> None:
        """Draw what is not there yet."""
        file = self._file()
        if file.is_file():
            return
        model, found = Pretrained.load(self.teacher), []
        grid = times.uniform(model.path, self.steps)
        for first, batch in zip(range(0, self.n, self.batch_size), self._batches(), strict=False):
            size = min(self.batch_size, self.n - first)
            told = {key: batch[key][:size] for key in PARTS if key in batch}
            y, shape = told.get("y"), tuple(batch["x0"].shape[1:]) if "x0" in batch else self.shape or ()
            seeds = [self.seed * 1_000_003 + i for i in range(first, first + size)]
            drawn = pairs(
                self._denoise(model, told), model.path, shape=(size, *shape), times=grid,
                solver=solvers.dpmpp_2m(), seeds=seeds, y=y,
            )  # fmt: skip
            found.append(dict(zip(("eps", "x0"), drawn, strict=True)) | told)
        kept = {key: torch.cat([part[key] for part in found]).contiguous() for key in found[0]}
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        save_file(kept, part)
        part.replace(file)

    def _denoise(self, model: Pretrained, told: Mapping[str, Tensor]) -> Any:
        teacher = model.denoise(y=told.get("y"), cond=told.get("cond"))
        if self.guidance_scale == 1:
            return teacher
        if "uncond" not in told:
            raise UsageError(f"guidance_scale={self.guidance_scale}: give `data` whose batches have 'uncond'")
        return guide.cfg(teacher, model.denoise(y=told.get("y"), cond=told["uncond"]), self.guidance_scale)

    def _batches(self) -> Iterator[dict[str, Any]]:
        """What the teacher is told, `batch_size` items at a time, again from the beginning where data end."""
        if self.data is None:
            while True:
                yield {}
        self.data.prepare_data()
        self.data.setup("fit")
        rest: dict[str, Tensor] = {}
        while True:
            for batch in self.data.train_dataloader():
                wanted = {key: value for key, value in batch.items() if key in (*PARTS, "x0")}
                rest = {key: torch.cat([rest[key], value]) if rest else value for key, value in wanted.items()}
                while len(rest["x0"]) >= self.batch_size:
                    yield {key: value[: self.batch_size] for key, value in rest.items()}
                    rest = {key: value[self.batch_size :] for key, value in rest.items()}

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
        guided = () if self.guidance_scale == 1 else (self.guidance_scale,)
        key = repr((digest, self.shape, self.n, self.steps, self.seed, *guided))
        return self.cache / f"pairs-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"


class _Pairs(Dataset):
    def __init__(self, kept: dict[str, Tensor], first: int, last: int):
        self._kept = {name: value[first:last] for name, value in kept.items()}

    def __len__(self) -> int:
        return len(self._kept["x0"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value[index] for name, value in self._kept.items()}
