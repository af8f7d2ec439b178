"""Batches of shapes for each training of the room: autoencoders, flows and their students.

What a batch holds depends on `stage`: ``"structure_vae"`` gives ``occupancy``; ``"slat_vae"`` ``sdf``, ``colour``,
``coords``, ``mask``; ``"structure"`` and ``"slat"`` the latents of trained autoencoders as ``x0``, with ``cond`` and
``uncond`` (`fewstep.three_d.models.condition`) and, for the second, ``mask``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.core.lit.loader import ResumableLoader
from fewstep.three_d.data.alike import Alike, checked
from fewstep.three_d.data.store import Plan, Stored, stored
from fewstep.three_d.pretrained import autoencoder, autoencoder_key

STAGES = ("structure_vae", "slat_vae", "structure", "slat")


class Shapes(pl.LightningDataModule):
    """Procedural shapes, or a folder of models.

    Parameters
    ----------
    stage
        See the module.
    vae
        The autoencoders whose latents flows learn: a name that ships, a folder, or a run.
    cache
        Folder for what is made of the shapes.
    shapes, held_out
        Numbers to train on, and to validate on (of the next seed).
    views, samples, block
        See `fewstep.three_d.data.store.Plan`.
    meshes
        A folder of models to train on instead; every tenth is held out.
    batch_size
        Shapes per batch.
    nothing, both
        Shares of items that are told nothing, and words and a picture; the rest is told one of them.
    told_words
        Share of the rest that is told words.
    tells_all
        Share of items whose caption is the one that tells all; the others' are drawn from all captions.
    alike, near
        Above 0, batches of the first stage are of words alone, in groups of so many items that are told the same, with
        so many data of each group (`fewstep.three_d.data.alike`); `batch_size` is a multiple.
    often
        Word -> how much more often such groups are drawn whose captions say it.
    workers
        Processes that make the shapes.
    seed
        Of the shapes, of their order and of what they are told.

    Raises
    ------
    UsageError
        If the stage is unknown, a flow's latents have no autoencoder, a number is not positive, groups do not fit, or
        `often` has an unknown word.
    """

    def __init__(
        self,
        *,
        stage: str,
        vae: str | None = None,
        cache: str = "runs/shapes-data",
        shapes: int = 6144,
        held_out: int = 256,
        views: int = 3,
        samples: int = 60,
        block: int = 5,
        meshes: str | None = None,
        batch_size: int = 32,
        nothing: float = 0.1,
        both: float = 0.15,
        told_words: float = 0.6,
        tells_all: float = 0.0,
        alike: int = 0,
        near: int = 64,
        often: Mapping[str, float] | None = None,
        workers: int = 2,
        seed: int = 0,
    ):
        super().__init__()
        if stage not in STAGES:
            raise UsageError(f"stage {stage!r}: expected one of {', '.join(STAGES)}")
        if not stage.endswith("vae") and vae is None:
            raise UsageError(f"stage {stage} learns latents: give vae=, trained autoencoders")
        if min(shapes, held_out, batch_size, views) < 1 or not 0 <= nothing + both <= 1 or not 0 <= tells_all <= 1:
            raise UsageError(
                f"expected positive numbers and shares in [0, 1], got {shapes=}, {held_out=}, {batch_size=}, {views=}, "
                f"{nothing=}, {both=}, {tells_all=}"
            )
        if often and not alike:
            raise UsageError("how often words are drawn is for groups that are told the same: give alike too")
        if alike and (stage != "structure" or alike < 2 or near < 2 or batch_size % alike):
            raise UsageError(
                "groups that are told the same are for the stage structure, at least 2 items and 2 data each, in "
                f"batches of whole groups, got {stage=}, {alike=}, {near=}, {batch_size=}"
            )
        plan = {"views": views, "samples": samples, "block": block, "meshes": meshes}
        self.plans = (Plan(shapes=shapes, seed=2 * seed, **plan), Plan(shapes=held_out, seed=2 * seed + 1, **plan))
        self.stage_name, self.vae, self.cache, self.workers = stage, vae, cache, workers
        self.batch_size, self.seed = batch_size, seed
        self.shares, self.tells_all = (nothing, both, told_words), tells_all
        self.alike, self.near, self.often = alike, near, checked(often)
        self.trained: Batches | Alike | None = None
        self.held: Batches | None = None

    def prepare_data(self) -> None:
        """Make what is missing on disk."""
        self._stored()

    def setup(self, stage: str) -> None:
        """Read it, and encode it where latents are learnt."""
        if self.trained is not None:
            return
        train, held = self._stored()
        latents = [self._latents(self.plans[0], train)]
        if self.plans[0].meshes is None:
            latents.append(self._latents(self.plans[1], held))
        else:
            chosen = np.arange(len(train)) % 10 == 0
            several = [np.flatnonzero(~chosen), np.flatnonzero(chosen)]
            latents = [self._some(latents[0], train, items) for items in several]
            train, held = (part(train, items) for items in several)
        self.trained, self.held = (
            Batches(data, self.stage_name, latent, self.batch_size, self.shares, self.seed, self.tells_all)
            for data, latent in zip((train, held), latents, strict=True)
        )
        if self.alike:
            self.trained = Alike(
                train.words, latents[0], picture=train.pictures.shape[2], groups=self.batch_size // self.alike,
                members=self.alike, near=self.near, tells_all=self.tells_all, seed=self.seed,
                often=self.often,
            )  # fmt: skip

    def _latents(self, plan: Plan, data: Stored) -> Tensor | None:
        """Of all shapes, kept on disk beside them."""
        if self.vae is None:
            return None
        name = f"latents-{self.stage_name}-{autoencoder_key(self.vae, self.stage_name)}-{len(data)}.safetensors"
        file = Path(self.cache) / plan.key / name
        if not file.is_file():
            found = encoded(self.vae, self.stage_name, data)
            with replacing(file) as new:
                save_file({"z": found}, new)
        return load_file(file)["z"]

    def _some(self, latents: Tensor | None, data: Stored, items: np.ndarray) -> Tensor | None:
        if latents is None or self.stage_name == "structure":
            return latents if latents is None else latents[torch.from_numpy(items)]
        return torch.cat([latents[data.rows(i)] for i in items])

    def _stored(self) -> tuple[Stored, Stored]:
        train, held = self.plans
        first = stored(self.cache, train, workers=self.workers)
        return first, first if held.meshes is not None else stored(self.cache, held, workers=self.workers)

    def train_dataloader(self) -> DataLoader:
        """Batches of like sizes in a new order each epoch."""
        return ResumableLoader(self.trained, None, seed=self.seed, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        """The held-out shapes, always the same batches."""
        return DataLoader(self.held, None)

    def test_dataloader(self) -> DataLoader:
        """As for validation."""
        return self.val_dataloader()


class Batches(Dataset):
    """Whole batches by (epoch, number); a plain number is of epoch 0."""

    def __init__(
        self,
        data: Stored,
        stage: str,
        latents: Any,
        batch_size: int,
        shares: tuple[float, float, float],
        seed: int,
        tells_all: float = 0.0,
    ):
        self.data, self.stage, self.latents = data, stage, latents
        self.size, self.shares, self.seed = min(batch_size, len(data)), shares, seed
        self.tells_all = tells_all
        self._order: tuple[int, list[np.ndarray]] = (-1, [])

    def __len__(self) -> int:
        return len(self.data) // self.size

    def __getitem__(self, which: tuple[int, int] | int) -> dict[str, Any]:
        epoch, number = which if isinstance(which, tuple) else (0, which)
        if number >= len(self):
            raise IndexError(number)
        if self._order[0] != epoch:
            self._order = (epoch, self._orders(epoch))
        items = self._order[1][number]
        generator = np.random.default_rng((self.seed, epoch, number))
        return self._batch(items, generator)

    def _orders(self, epoch: int) -> list[np.ndarray]:
        """A shuffle in which the shapes of a batch have about as many cells."""
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(len(self.data))[: len(self) * self.size]
        if self.stage in ("structure", "structure_vae"):
            return np.split(order, len(self))
        counts, batches = self.data.counts, []
        for first in range(0, len(order), 16 * self.size):
            several = order[first : first + 16 * self.size]
            several = several[np.argsort(counts[several], kind="stable")]
            batches += np.split(several, len(several) // self.size)
        return [batches[i] for i in generator.permutation(len(batches))]

    def _batch(self, items: np.ndarray, generator: np.random.Generator) -> dict[str, Any]:
        if self.stage == "structure_vae":
            return {"occupancy": occupancy(self.data, items)}
        if self.stage == "structure":
            return {"x0": self.latents[torch.from_numpy(items)]} | self._told(items, generator, {})
        coords, mask = padded(self.data, items)
        if self.stage == "slat_vae":
            return values(self.data, items, mask) | {"coords": coords, "mask": mask}
        x0 = torch.zeros(*mask.shape, self.latents.shape[1])
        x0[mask] = torch.cat([self.latents[self.data.rows(i)] for i in items])
        where = {"coords": coords, "mask": mask}
        return {"x0": x0, "mask": mask[:, :, None]} | self._told(items, generator, where)

    def _told(self, items: np.ndarray, generator: np.random.Generator, where: dict[str, Tensor]) -> dict[str, Any]:
        n = len(items)
        caption = generator.integers(self.data.words.shape[1], size=n)
        views = self.data.pictures[items, generator.integers(self.data.pictures.shape[1], size=n)]
        image = views.transpose(0, 3, 1, 2).astype(np.float32) / 255
        nothing, both, told_words = self.shares
        draw, which = generator.random(n), generator.random(n)
        caption[generator.random(n) < self.tells_all] = 0
        words = self.data.words[items, caption].astype(np.int64)
        one = draw >= nothing + both
        words[(draw < nothing) | (one & (which >= told_words))] = 0
        image[(draw < nothing) | (one & (which < told_words))] = 0
        cond = {"words": torch.from_numpy(words), "image": torch.from_numpy(image)}
        return {"cond": cond | where, "uncond": {key: torch.zeros_like(value) for key, value in cond.items()} | where}


def occupancy(data: Stored, items: Sequence[int]) -> Tensor:
    """Which cells are active, float32 [B, 1, c, c, c]."""
    found = torch.zeros(len(items), 1, *[data.lattice.cells] * 3)
    for n, i in enumerate(items):
        found[n, 0][tuple(torch.from_numpy(data.coords[data.rows(i)].astype(np.int64)).T)] = 1
    return found


def padded(data: Stored, items: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Coordinates int64 [B, N, 3] and mask bool [B, N] of some shapes' cells."""
    counts = data.counts[items]
    mask = torch.arange(int(counts.max()))[None] < torch.from_numpy(counts)[:, None]
    coords = torch.zeros(*mask.shape, 3, dtype=torch.long)
    coords[mask] = torch.from_numpy(np.concatenate([data.coords[data.rows(i)] for i in items]).astype(np.int64))
    return coords, mask


def values(data: Stored, items: Sequence[int], mask: Tensor) -> dict[str, Tensor]:
    """Signed distances [B, N, b³] and colours [B, N, b³, 3] of some shapes' cells; padding is 1 and 0."""
    sdf, colour = torch.ones(*mask.shape, data.sdf.shape[1]), torch.zeros(*mask.shape, *data.colour.shape[1:])
    sdf[mask] = torch.from_numpy(np.concatenate([data.sdf[data.rows(i)] for i in items])).float() / 127
    colour[mask] = torch.from_numpy(np.concatenate([data.colour[data.rows(i)] for i in items])).float() / 255
    return {"sdf": sdf, "colour": colour}


def part(data: Stored, items: np.ndarray) -> Stored:
    """Some shapes."""
    rows = np.concatenate([np.arange(data.starts[i], data.starts[i + 1]) for i in items])
    starts = np.concatenate([[0], np.cumsum(data.counts[items])])
    return Stored(
        data.lattice, starts, data.coords[rows], data.sdf[rows], data.colour[rows], data.words[items],
        data.pictures[items],
    )  # fmt: skip


@torch.no_grad()
def encoded(vae: str, stage: str, data: Stored, *, batch_size: int = 64) -> Tensor:
    """Normalised latents of all shapes: [n, C, r, r, r], or of all their cells [rows, C].

    Parameters
    ----------
    vae
        What `fewstep.three_d.pretrained.autoencoders` loads.
    stage
        ``"structure"`` or ``"slat"``.
    data
        The shapes.
    batch_size
        Shapes at once.
    """
    net: Any = autoencoder(vae, stage)
    order = np.argsort(data.counts, kind="stable")  # little padding
    whole = torch.empty(0)
    for first in range(0, len(data), batch_size):
        items = order[first : first + batch_size]
        if stage == "structure":
            z, at = net.normalised(net.encode(occupancy(data, items))[0]), items
        else:
            coords, mask = padded(data, items)
            z = net.normalised(net.encode(**values(data, items, mask), coords=coords, mask=mask)[0])[mask]
            at = np.concatenate([np.arange(data.starts[i], data.starts[i + 1]) for i in items])
        if not first:
            whole = torch.empty(len(data) if stage == "structure" else len(data.coords), *z.shape[1:])
        whole[torch.from_numpy(at)] = z
    return whole


__all__ = ["STAGES", "Batches", "Shapes", "encoded", "occupancy", "padded", "values"]
