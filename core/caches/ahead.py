"""Several rows of a decoder in one call: between two computed rows of the encoder nothing of them depends on the state.

Faster Diffusion's parallel decoder (Li et al. 2024, arXiv:2312.09608, section 3.3): with the skips of row k stored, the
answers of the rows up to the next computed one differ only in the time that the decoder is told.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.caches.attach import Attached
from fewstep.core.caches.policy import Schedule
from fewstep.core.errors import UsageError


@dataclass
class _Queue:
    """Answers of one run that have been computed before they are asked for."""

    row: int = -1
    branch: int = 0
    waiting: dict[int, list[Tensor]] = field(default_factory=dict)


class Ahead:
    """Stands for an attached net: ``ahead(x, t, *cond)`` as the net itself, which must return one tensor.

    Parameters
    ----------
    attached
        A net with one cache, of the scope `fewstep.core.caches.encoder` and a `Schedule`.
    told
        ``told(row) -> t``: the time that the net is told at a row, a scalar or [batch].
    most
        Rows in one call, for the memory's sake; None: all up to the next computed row.

    Raises
    ------
    UsageError
        If the cache is of another kind.
    """

    def __init__(self, attached: Attached, told: Callable[[int], Tensor], *, most: int | None = None):
        from fewstep.core.caches.unets import Encoder

        cache = attached.caches[0]
        if len(attached.caches) != 1 or not isinstance(cache.scope, Encoder) or not isinstance(cache.policy, Schedule):
            raise UsageError("expected a net with one cache, of the scope caches.encoder() and a Schedule")
        if most is not None and most < 1:
            raise UsageError(f"expected at least one row per call, got {most}")
        self.attached, self.told, self.schedule, self.most = attached, told, cache.policy, most

    def __call__(self, x: Tensor, t: Tensor, *cond: Any) -> Tensor:
        """The net's answer at this row."""
        counter = nfe.current()
        if counter is None or not counter.asking or torch.is_grad_enabled():
            answer: Tensor = self.attached(x, t, *cond)
            return answer
        queue, row = counter.notes.setdefault(self, _Queue()), counter.rows - 1
        queue.branch = queue.branch + 1 if queue.row == row else 0
        queue.row = row
        waiting = queue.waiting.setdefault(queue.branch, [])
        memory = counter.notes.get(self.attached)
        if row in self.schedule.refresh or memory is None:
            waiting.clear()
            first: Tensor = self.attached(x, t, *cond)
            return first
        if not waiting:
            waiting += self._several(memory, x, row, cond)
        return waiting.pop(0)

    def _several(self, memory: Any, x: Tensor, row: int, cond: tuple[Any, ...]) -> list[Tensor]:
        until = next((later for later in self.schedule.refresh if later > row), self.schedule.rows)
        rows = range(row, until)[: self.most]
        times = torch.cat([torch.as_tensor(self.told(r)).to(x.device).expand(len(x)) for r in rows])
        repeated = (part.repeat(len(rows), *[1] * (part.ndim - 1)) if _per_item(part, x) else part for part in cond)
        memory.copies = len(rows)
        try:
            said: Tensor = self.attached(x.repeat(len(rows), *[1] * (x.ndim - 1)), times, *repeated)
        finally:
            memory.copies = 1
        return list(said.chunk(len(rows)))


def _per_item(part: Any, x: Tensor) -> bool:
    return isinstance(part, Tensor) and part.ndim > 0 and len(part) == len(x)
