"""Endless procedural shapes for the judge: coarse grids and the right answers, made as they are needed."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader
from fewstep.three_d.corpus import Shape, make
from fewstep.three_d.corpus.attributes import complete
from fewstep.three_d.models.classifier import SIDE, _grid, centres, questions

ABSENT = -100  # the answer to a question about another kind


class JudgedShapes(pl.LightningDataModule):
    """Batches of ``grid`` [B, 4, 32, 32, 32] and ``answers`` int64 [B, questions].

    Parameters
    ----------
    shapes
        Per epoch; each epoch has new ones.
    held_out
        For validation, of the next seed.
    batch_size
        Shapes per batch.
    noise
        Of the distances in training, in object units, smooth: generated shapes are not as even.
    seed
        Of the shapes.

    Raises
    ------
    UsageError
        If a number is not positive.
    """

    def __init__(
        self, *, shapes: int = 4096, held_out: int = 512, batch_size: int = 32, noise: float = 0.006, seed: int = 0
    ):
        super().__init__()
        if min(shapes, held_out, batch_size) < 1 or noise < 0:
            raise UsageError(f"expected positive numbers, got {shapes=}, {held_out=}, {batch_size=}, {noise=}")
        self.batch_size, self.seed = batch_size, seed
        self.trained = Grids(max(shapes // batch_size, 1), batch_size, 2 * seed, noise)
        self.held = Grids(max(held_out // batch_size, 1), batch_size, 2 * seed + 1, 0.0)

    def train_dataloader(self) -> DataLoader:
        """New shapes each epoch."""
        return ResumableLoader(self.trained, None, seed=self.seed, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        """The held-out shapes."""
        return DataLoader(self.held, None)

    def test_dataloader(self) -> DataLoader:
        """As for validation."""
        return self.val_dataloader()


class Grids(Dataset):
    """Whole batches by (epoch, number); a plain number is of epoch 0."""

    def __init__(self, batches: int, size: int, seed: int, noise: float):
        self.batches, self.size, self.seed, self.noise = batches, size, seed, noise

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, which: tuple[int, int] | int) -> dict[str, Tensor]:
        epoch, number = which if isinstance(which, tuple) else (0, which)
        if number >= self.batches:
            raise IndexError(number)
        first = (epoch * self.batches + number) * self.size
        shapes = [make(first + i, seed=self.seed) for i in range(self.size)]
        generator = np.random.default_rng((self.seed, epoch, number, 2))
        grids = np.stack([shape_grid(shape, self.noise, generator) for shape in shapes])
        return {"grid": torch.from_numpy(grids), "answers": torch.tensor([right(shape) for shape in shapes])}


def shape_grid(shape: Any, noise: float = 0.0, generator: np.random.Generator | None = None) -> np.ndarray:
    """What the judge reads of a solid, float32 [4, 32, 32, 32]; with noise, mirrored in half of the draws."""
    points = centres()
    sdf = shape.sdf(points)
    near = np.abs(sdf) < 1 / SIDE
    colour = np.zeros((len(points), 3), np.float32)
    colour[near] = shape.colour(points[near])
    if noise and generator is not None:
        coarse = generator.normal(size=(8, 8, 8)).astype(np.float32)
        rough = np.repeat(np.repeat(np.repeat(coarse, 4, 0), 4, 1), 4, 2) + generator.normal(size=(SIDE,) * 3) * 0.5
        sdf = sdf + noise * float(generator.random()) * rough.ravel()
        colour = np.clip(colour + generator.normal(size=3) * 0.02 * near[:, None], 0, 1)
    grid = _grid(sdf.reshape((SIDE,) * 3), colour.reshape(*(SIDE,) * 3, 3))
    return np.ascontiguousarray(grid[:, ::-1]) if noise and generator is not None and generator.random() < 0.5 else grid


def right(shape: Shape) -> list[int]:
    """The number of the right answer to each question, `ABSENT` for those about other kinds."""
    true = complete(shape.kind, shape.attributes)
    known = {name if name in ("colour", "second") else f"{shape.kind}.{name}": value for name, value in true.items()}
    known["kind"] = shape.kind
    return [values.index(known[name]) if name in known else ABSENT for name, values in questions().items()]


__all__ = ["ABSENT", "Grids", "JudgedShapes", "right", "shape_grid"]
