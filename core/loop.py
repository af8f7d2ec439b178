"""The one loop: a ring of history, and one combination per step, written over the state.

    x <- state_i x + sum_k slots_ik ring_k + noise_i eps_i

Everything but the net is decided before: `Loop.of` takes the memory, `rows` moves it and neither allocates anything of
the state's size nor waits for a device, so that it may be captured as a CUDA graph.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.answers import check_answer, check_finite, not_finite, on, picked, sum_dtype, time_dtype
from fewstep.core.combine import Move, combination, is_product, real, with_noise
from fewstep.core.rng import Fill
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Denoise
from fewstep.core.weights import weights


@dataclass(frozen=True)
class Loop:
    """Memory and numbers of one run.

    Parameters
    ----------
    denoise, table
        What runs.
    x
        The state, [batch, ...], contiguous; every row is written over it.
    times
        One tensor per row, on the state's device.
    slots
        The ring, seen as states.
    element
        x, D and the last element in each new one, [rows][3].
    sums
        One number per row, finite if the row is; on the CPU one number, looked at after each row.
    move
        i -> the combination of row i, in place.
    """

    denoise: Denoise
    table: Tableau
    x: Tensor
    times: tuple[Tensor, ...]
    slots: list[Tensor]
    element: list[list[float]]
    sums: Tensor
    move: Move

    @classmethod
    def of(
        cls, denoise: Denoise, table: Tableau, x: Tensor, y: Tensor | None, fill: Fill, *, compiled: bool = False
    ) -> "Loop":
        """Take the memory for running `table` from `x`: the ring, y in its last slot, and the noise if any is drawn."""
        way = "compiled" if compiled else "product" if is_product(x, table) else "terms"
        w = weights(table, with_y=y is not None, unit=way == "terms")
        ring = torch.zeros((w.slots.shape[1], x.numel()), dtype=x.dtype, device=x.device)
        if y is not None:
            ring[-1].copy_(y.reshape(-1))
        move = combination(way, real(x.view(-1)), real(ring), w)
        return cls(
            denoise=denoise,
            table=table,
            x=x,
            times=on(table.times, time_dtype(x), x.device).unbind(),
            slots=[slot.view(x.shape) for slot in ring[: w.depth]],
            element=w.element.tolist(),
            sums=torch.zeros(1 if x.device.type == "cpu" else table.rows, dtype=sum_dtype(x), device=x.device),
            move=with_noise(move, x, w.noise, fill),
        )

    def rows(self, shown: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
        """Run the rows; yields (row, D) once the state has moved.

        Raises
        ------
        UsageError
            If an answer is not shaped like the state or, on the CPU, not finite.
        """
        slots, depth, at_once = self.slots, len(self.slots), self.x.device.type == "cpu"
        told = self.sums.numpy() if at_once else None
        parts, dtype = [real(slot).view(-1) for slot in slots], self.sums.dtype
        totals = self.sums.unbind() * (self.table.rows if at_once else 1)
        asked = picked(self.denoise, self.table.times.tolist())
        for i in shown:
            denoised = nfe.call(asked[i], self.x, self.times[i])
            check_answer(denoised, self.x, "denoise")
            k = i % depth
            _write(slots[k], self.x, denoised, self.element[i], slots[k - 1] if i else None)
            torch.sum(parts[k], 0, dtype=dtype, out=totals[i])
            if told is not None and not isfinite(told[0]):
                check_finite(denoised, *self._where(i))
                check_finite(self.x, *self._where(i), "the state became")
            self.move(i)
            yield i, denoised

    def replace(self, x: Tensor) -> None:
        """Go on from another state."""
        self.x.copy_(x)

    def verify(self, rows: int) -> None:
        """Wait for the device and see whether the first `rows` were finite.

        Raises
        ------
        UsageError
            If one was not.
        """
        if self.x.device.type != "cpu":
            bad = (~torch.isfinite(self.sums[:rows])).nonzero()
            if len(bad):
                raise not_finite(*self._where(int(bad[0])))

    def _where(self, i: int) -> tuple[int, float, str]:
        return int(self.table.step[i]), float(self.table.times[i]), self.table.path


def _write(slot: Tensor, x: Tensor, denoised: Tensor, element: list[float], last: Tensor | None) -> None:
    of_x, of_denoised, of_last = element
    if of_x == 0 and (of_denoised == 1 or denoised.dtype is not slot.dtype):
        slot.copy_(denoised)
        if of_denoised != 1:
            slot.mul_(of_denoised)
    elif of_x == 0:
        torch.mul(denoised, of_denoised, out=slot)
    elif of_denoised == 1:
        torch.add(denoised, x, alpha=of_x, out=slot)
    else:
        torch.add(x, denoised, alpha=of_denoised, out=slot)
    if of_last and last is not None:
        slot.add_(last, alpha=of_last)
