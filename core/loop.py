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
from fewstep.core.answers import check_answer, check_finite, not_finite, on, picked, sum_dtype, time_dtype
from fewstep.core.rng import Fill
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Denoise
from fewstep.core.weights import Weights, weights

Move = Callable[[int], Any]
_LARGE = 8192


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
        product = not compiled and _is_product(x, table)
        w = weights(table, with_y=y is not None, unit=not (product or compiled))
        ring = torch.zeros((w.slots.shape[1], x.numel()), dtype=x.dtype, device=x.device)
        if y is not None:
            ring[-1].copy_(y.reshape(-1))
        flat = real(x.view(-1))
        make = _compiled if compiled else _product if product else _terms
        return cls(
            denoise=denoise,
            table=table,
            x=x,
            times=on(table.times, time_dtype(x), x.device).unbind(),
            slots=[slot.view(x.shape) for slot in ring[: w.depth]],
            element=w.element.tolist(),
            sums=torch.zeros(1 if x.device.type == "cpu" else table.rows, dtype=sum_dtype(x), device=x.device),
            move=_with_noise(make(flat, real(ring), w), x, w.noise, fill),
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


def real(x: Tensor) -> Tensor:
    """The same memory as real numbers."""
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


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


def _is_product(x: Tensor, table: Tableau) -> bool:
    """Whether a matrix-vector product pays: for small items it has less overhead; it is exact in full precision only.

    The choice depends on the item, not on the batch, which must not show in the result.
    """
    small = x[0].numel() < _LARGE or bool(table.mix[:, 0].any())
    return small and x.device.type == "cpu" and real(x).dtype in (torch.float32, torch.float64)


def _product(x: Tensor, ring: Tensor, w: Weights) -> Move:
    matrix, vectors, factors = ring.t(), on(w.slots, x.dtype, x.device).unbind(), w.state.tolist()
    return lambda i: x.addmv_(matrix, vectors[i], beta=factors[i])


def _terms(x: Tensor, ring: Tensor, w: Weights) -> Move:
    parts, factors, weights_of = ring.unbind(), w.state.tolist(), w.slots.tolist()

    def move(i: int) -> None:
        weights, k = weights_of[i], i % w.depth
        if weights[k] == 1:
            torch.add(parts[k], x, alpha=factors[i], out=x)
        else:
            x.mul_(factors[i]).add_(parts[k], alpha=weights[k])
        for j, weight in enumerate(weights):
            if weight and j != k:
                x.add_(parts[j], alpha=weight)

    return move


def _with_noise(combine: Move, x: Tensor, noise: Any, fill: Fill) -> Move:
    if not noise.any():
        return combine
    drawn, amounts = torch.empty_like(x), noise.tolist()

    def move(i: int) -> None:
        combine(i)
        if amounts[i]:
            x.add_(fill(drawn, i), alpha=amounts[i])

    return move


def _compiled(x: Tensor, ring: Tensor, w: Weights) -> Move:
    run, numbers = _compiler(), on(np.column_stack([w.state, w.slots]), time_dtype(x), x.device).unbind()
    return lambda i: run(x, ring, numbers[i])


@cache
def _compiler() -> Callable[[Tensor, Tensor, Tensor], None]:
    return torch.compile(_in_one, fullgraph=True)


def _in_one(x: Tensor, ring: Tensor, numbers: Tensor) -> None:
    moved = x * numbers[0]
    for k, part in enumerate(ring.unbind()):
        moved = moved + part * numbers[k + 1]
    x.copy_(moved)
