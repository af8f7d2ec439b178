"""The one loop: a ring of history, and one combination per step, written over the state.

    x <- state_i x + sum_k slots_ik ring_k + noise_i eps_i

Everything but the net is decided before: `Loop.of` takes the memory, `rows` moves it and neither allocates anything of
the state's size nor waits for a device, so that it may be captured as a CUDA graph.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.answers import check_answer, check_finite, not_finite, on, sum_dtype, time_dtype
from fewstep.core.rng import Fill
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Denoise
from fewstep.core.weights import weights

Move = Callable[[int], Any]
_FUSED = (torch.float32, torch.float64)


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
        w = weights(table, with_y=y is not None)
        ring = torch.zeros((w.slots.shape[1], x.numel()), dtype=x.dtype, device=x.device)
        if y is not None:
            ring[-1].copy_(y.reshape(-1))
        flat = real(x.view(-1))
        combine = _combination(flat, real(ring), w.state, w.slots, compiled)
        return cls(
            denoise=denoise,
            table=table,
            x=x,
            times=on(table.times, time_dtype(x), x.device).unbind(),
            slots=[slot.view(x.shape) for slot in ring[: w.depth]],
            element=w.element.tolist(),
            sums=torch.zeros(1 if x.device.type == "cpu" else table.rows, dtype=sum_dtype(x), device=x.device),
            move=_with_noise(combine, x, w.noise, fill),
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
        for i in shown:
            denoised = nfe.call(self.denoise, self.x, self.times[i])
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


def real(x: Tensor) -> Tensor:
    """The same memory as real numbers."""
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


def _write(slot: Tensor, x: Tensor, denoised: Tensor, element: list[float], last: Tensor | None) -> None:
    of_x, of_denoised, of_last = element
    if of_x == 0:
        slot.copy_(denoised)
    elif of_denoised == 1:
        torch.add(denoised, x, alpha=of_x, out=slot)
    else:
        torch.add(x, denoised, alpha=of_denoised, out=slot)
    if of_last and last is not None:
        slot.add_(last, alpha=of_last)


def _combination(x: Tensor, ring: Tensor, state: Any, slots: Any, compiled: bool) -> Move:
    """Row i of the table, over the state: a matrix-vector product where that is one exact pass, else term by term."""
    factors = state.tolist()
    if compiled:
        run, numbers = _compiled(), on(np.column_stack([state, slots]), time_dtype(x), x.device).unbind()
        return lambda i: run(x, ring, numbers[i])
    if x.device.type == "cpu" and x.dtype in _FUSED:
        matrix, vectors = ring.t(), on(slots, x.dtype, x.device).unbind()
        return lambda i: x.addmv_(matrix, vectors[i], beta=factors[i])
    parts = ring.unbind()
    terms = [[(part, w) for part, w in zip(parts, row, strict=True) if w] for row in slots.tolist()]
    return lambda i: _term_by_term(x, factors[i], terms[i])


def _term_by_term(x: Tensor, factor: float, terms: list[tuple[Tensor, float]]) -> None:
    if factor != 1:
        x.mul_(factor)
    for part, weight in terms:
        x.add_(part, alpha=weight)


def _with_noise(combine: Move, x: Tensor, noise: Any, fill: Fill) -> Move:
    if not noise.any():
        return combine
    drawn, amounts = torch.empty_like(x), noise.tolist()

    def move(i: int) -> None:
        combine(i)
        if amounts[i]:
            x.add_(fill(drawn, i), alpha=amounts[i])

    return move


def _fused(x: Tensor, ring: Tensor, numbers: Tensor) -> None:
    moved = x * numbers[0]
    for k, part in enumerate(ring.unbind()):
        moved = moved + part * numbers[k + 1]
    x.copy_(moved)


@cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor], None]:
    return torch.compile(_fused, fullgraph=True)
