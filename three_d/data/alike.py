"""Batches of the first stage whose items come in groups that are told the same, colours aside: cells know no colours.

For `fewstep.core.distill.drifting.Drifting`: ``cond`` of [groups · n] items, each a true caption of one of its shapes,
``x0`` those shapes' latents, ``near`` [groups, m, C, r, r, r] latents of shapes drawn from the whole group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fewstep.core.errors import UsageError
from fewstep.three_d.corpus import COLOURS
from fewstep.three_d.text import IDS

LEAST = 16
"""Captions that a group has at least; rarer ones are left out."""


class Alike(Dataset):
    """Whole batches by (epoch, number); a plain number is of epoch 0.

    Parameters
    ----------
    words
        Captions of each shape, integers [shapes, captions, length]; the first tells all.
    latents
        Of each shape, [shapes, C, r, r, r].
    picture
        Pixels per side of the (empty) pictures.
    groups, members, near
        Groups per batch, items per group, and n and m of the module.
    tells_all
        Share of groups whose captions tell all; the others' are the further captions.
    often
        Word -> how much more often than others groups are drawn whose captions say it.
    seed
        Of the draws.

    Raises
    ------
    UsageError
        If no caption is there often enough, or `often` is not as `checked` wants it.
    """

    def __init__(
        self,
        words: np.ndarray,
        latents: Tensor,
        *,
        picture: int,
        groups: int,
        members: int,
        near: int,
        tells_all: float,
        seed: int,
        often: Mapping[str, float] | None = None,
    ):
        often = checked(often)
        self.words, self.latents, self.picture = words, latents, picture
        self.groups, self.members, self.near, self.seed = groups, members, near, seed
        full, partial = grouped(words[:, :1]), grouped(words[:, 1:], first=1)
        if not full and not partial:
            raise UsageError(
                f"no caption, colours aside, is there {LEAST} times among {len(words)} shapes: give more shapes"
            )
        self.share = tells_all if full and partial else float(bool(full))
        factors = {IDS[word]: factor for word, factor in often.items()}
        self.pools = [(pool, self._chances(pool, factors)) for pool in (full, partial)]

    def __len__(self) -> int:
        return max(1, len(self.words) // (self.groups * self.members))

    def __getitem__(self, which: tuple[int, int] | int) -> dict[str, Any]:
        epoch, number = which if isinstance(which, tuple) else (0, which)
        if number >= len(self):
            raise IndexError(number)
        generator = np.random.default_rng((self.seed, epoch, number))
        rows, near = zip(*(self._group(generator) for _ in range(self.groups)), strict=True)
        shapes, captions = np.concatenate(rows).T
        words = torch.from_numpy(self.words[shapes, captions].astype(np.int64))
        image = torch.zeros(len(words), 4, self.picture, self.picture)
        several = torch.stack([self.latents[torch.from_numpy(items)] for items in near])
        return {
            "x0": self.latents[torch.from_numpy(shapes)],
            "near": several,
            "cond": {"words": words, "image": image},
        }

    def _group(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows (shape, caption) of the items, and shapes of the data: all rows once before one comes again."""
        pool, chances = self.pools[int(generator.random() >= self.share)]
        rows = pool[int(generator.choice(len(pool), p=chances))]
        drawn = generator.choice(len(rows), self.members)
        order = np.concatenate([generator.permutation(len(rows)) for _ in range(-(-self.near // len(rows)))])
        return rows[drawn], rows[order[: self.near], 0]

    def _chances(self, pool: Sequence[np.ndarray], factors: Mapping[int, float]) -> np.ndarray:
        """Of each group: its size, times the largest factor among its words."""
        told = [self.words[tuple(rows[0])].tolist() for rows in pool]
        factor = [max((factors[i] for i in ids if i in factors), default=1.0) for ids in told]
        sizes = np.array([len(rows) for rows in pool], np.float64) * factor
        return sizes / sizes.sum()


def checked(often: Mapping[str, float] | None) -> dict[str, float]:
    """The factors of `Alike`, none if None.

    Raises
    ------
    UsageError
        If a word is in no caption, or a factor is not positive and finite.
    """
    found = dict(often or {})
    if any(word not in IDS or not 0 < factor < float("inf") for word, factor in found.items()):
        raise UsageError(f"expected words that captions have, each with a positive factor, in often={found}")
    return found


def grouped(words: np.ndarray, *, first: int = 0) -> list[np.ndarray]:
    """Rows (shape, caption) that say the same without their colours, for captions that are there often enough.

    Parameters
    ----------
    words
        [shapes, captions, length].
    first
        Number of the first caption.

    Returns
    -------
    list of numpy.ndarray
        int64 [rows, 2] each, in the order of their first row.
    """
    colours = [IDS[name] for name in COLOURS]
    found: dict[bytes, list[tuple[int, int]]] = {}
    for shape, several in enumerate(words):
        for caption, ids in enumerate(several, first):
            found.setdefault(_without(ids, colours), []).append((shape, caption))
    return [np.array(rows, np.int64) for rows in found.values() if len(rows) >= LEAST]


def _without(ids: np.ndarray, colours: Sequence[int]) -> bytes:
    return ids[(ids != 0) & ~np.isin(ids, colours)].tobytes()


__all__ = ["LEAST", "Alike", "checked", "grouped"]
