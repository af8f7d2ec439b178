"""A data loader that continues in the middle of an epoch after a stop, on one process or many.

The order of an epoch depends on (seed, epoch) alone, so a place in the data is two numbers.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class ResumableLoader(DataLoader):
    """Batches in an order that (seed, epoch) fixes, with its place in the state of a checkpoint.

    Each process of a distributed run gets its own share. Lightning saves and restores the place by itself.

    Parameters
    ----------
    dataset
        Map-style data set.
    batch_size
        Items per batch and process.
    shuffle
        A new order each epoch.
    seed
        Of the order.
    drop_last
        Leave out an incomplete last batch.
    with_epoch
        Ask the data set for (epoch, index) instead of index, for items that differ between epochs (crops, batches of
        their own making; the latter with `batch_size` None).
    options
        Further arguments of `torch.utils.data.DataLoader` (``num_workers``, ``collate_fn``, ...).
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int | None = 1,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        with_epoch: bool = False,
        **options: Any,
    ):
        self._epoch, self._position, self._resumed, self._seed = 0, 0, False, seed
        self._order = _Order(dataset, shuffle=shuffle, seed=seed, drop_last=False, **_share())
        self._order.with_epoch = with_epoch
        self._size = batch_size or 1
        options.setdefault("generator", torch.Generator())
        super().__init__(dataset, batch_size, sampler=self._order, drop_last=drop_last, **options)

    def __iter__(self) -> Iterator[Any]:
        """The batches of one epoch, or of the rest of it after `load_state_dict`."""
        if not self._resumed:
            self._epoch, self._position = self._epoch + (self._position > 0), 0
        self._resumed = False
        self.generator.manual_seed(self._seed * 1_000_003 + self._epoch)  # of the workers
        self._order.set_epoch(self._epoch)
        self._order.start = self._position * self._size
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._position += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The place: epoch and number of batches already handed out in it."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place that `state_dict` gave; the next iteration goes on from there."""
        done = state["position"] >= len(self)
        self._epoch, self._position = (state["epoch"] + 1, 0) if done else (state["epoch"], state["position"])
        self._resumed = True


class _Order(DistributedSampler):
    start, with_epoch = 0, False

    def __iter__(self) -> Iterator[Any]:
        left = list(super().__iter__())[self.start :]
        return iter([(self.epoch, i) for i in left] if self.with_epoch else left)


def _share() -> dict[str, int]:
    if dist.is_available() and dist.is_initialized():
        return {"num_replicas": dist.get_world_size(), "rank": dist.get_rank()}
    return {"num_replicas": 1, "rank": 0}
