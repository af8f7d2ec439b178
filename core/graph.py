"""The loop of `fewstep.core.loop` out of place, for gradients: every state is a new tensor."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.answers import check_answer, check_finite, on, picked, time_dtype
from fewstep.core.rng import Fill
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Denoise
from fewstep.core.weights import weights


@dataclass
class Graph:
    """One run; `x` is the newest state, and may be replaced between rows."""

    denoise: Denoise
    table: Tableau
    x: Tensor
    y: Tensor | None
    fill: Fill
    _ring: list[Tensor | None] = field(default_factory=list)

    def rows(self, shown: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
        """Run the rows; yields (row, D) once there is a new state.

        Raises
        ------
        UsageError
            If an answer is not shaped like the state, or not finite.
        """
        w = weights(self.table, with_y=self.y is not None)
        times = on(self.table.times, time_dtype(self.x), self.x.device).unbind()
        empty: list[Tensor | None] = [None] * w.depth
        self._ring = empty if self.y is None else [*empty, self.y]
        asked = picked(self.denoise, self.table.times.tolist())
        for i in shown:
            denoised = nfe.call(asked[i], self.x, times[i])
            check_answer(denoised, self.x, "denoise")
            check_finite(denoised, int(self.table.step[i]), float(self.table.times[i]), self.table.path)
            self._ring[i % w.depth] = self._element(denoised, w.element[i].tolist(), self._ring[(i - 1) % w.depth])
            self.x = self._moved(i, float(w.state[i]), w.slots[i].tolist(), float(w.noise[i]))
            yield i, denoised

    def replace(self, x: Tensor) -> None:
        """Go on from another state."""
        self.x = x.to(self.x.dtype)

    def verify(self, rows: int) -> None:
        """Nothing: each row was checked when it ran."""

    def _element(self, denoised: Tensor, element: list[float], last: Tensor | None) -> Tensor:
        of_x, of_denoised, of_last = element
        new = denoised.clone() if of_denoised == 1 else denoised * of_denoised
        new = new if of_x == 0 else new + of_x * self.x
        return (new if of_last == 0 or last is None else new + of_last * last).to(self.x.dtype)

    def _moved(self, i: int, state: float, slots: list[float], noise: float) -> Tensor:
        moved = self.x * state
        for part, weight in zip(self._ring, slots, strict=True):
            if part is not None and weight:
                moved = moved + weight * part
        return moved + noise * self.fill(torch.empty_like(self.x, requires_grad=False), i) if noise else moved
