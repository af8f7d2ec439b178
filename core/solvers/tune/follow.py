"""A table followed row by row, so that a method can look at the states and choose the numbers as it goes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.types import Denoise

Number = float | Tensor


class Follower:
    """The state u = x − b y of one run, and the history elements, newest first.

    Parameters
    ----------
    denoise
        The denoiser.
    x
        First state, [batch, ...].
    y
        Degraded end, shaped like `x`; None is 0.
    b
        Of the path at the first time.
    """

    def __init__(self, denoise: Denoise, x: Tensor, y: Tensor | None, b: Number):
        self.denoise, self.y = denoise, y
        self.u = x if y is None else x - b * y
        self.past: list[Tensor] = []

    def ask(self, t: Number, b: Number, mix: Sequence[Number]) -> Tensor:
        """Ask the denoiser at time t; the new element of the history."""
        x = self.u if self.y is None else self.u + b * self.y
        real = torch.float64 if x.dtype in (torch.float64, torch.complex128) else torch.float32
        denoised = nfe.call(self.denoise, x, torch.as_tensor(t, dtype=real, device=x.device))
        element = mix[0] * self.u + mix[1] * denoised
        if self.past and not (isinstance(mix[2], float) and mix[2] == 0):
            element = element + mix[2] * self.past[0]
        self.past.insert(0, element)
        return element

    def move(self, state: Number, history: Sequence[Number]) -> Tensor:
        """The next u."""
        u = state * self.u
        for weight, element in zip(history, self.past, strict=False):
            u = u + weight * element
        self.u = u
        del self.past[max(len(history), 1) :]
        return u


def follow(denoise: Denoise, table: Tableau, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
    """Every state of a table without noise, from x on.

    Parameters
    ----------
    denoise
        The denoiser.
    table
        What to run.
    x
        State at the table's first time, [batch, ...].
    y
        Degraded end, shaped like `x`; None is 0.

    Returns
    -------
    list of Tensor
        u = x − b y at the table's times, [rows + 1] of them.
    """
    run = Follower(denoise, x, y, float(table.b[0]))
    states = [run.u]
    for i in range(table.rows):
        run.ask(float(table.times[i]), float(table.b[i]), table.mix[i].tolist())
        states.append(run.move(float(table.state[i]), table.history[i].tolist()))
    return states
