"""Row i of a table over the state, x <- state_i x + sum_k slots_ik ring_k, in the way that is cheapest where x lies.

product   one matrix-vector product: least overhead, for small items in full precision on the CPU
terms     one pass per term, the first of which moves x as well: everywhere else
compiled  one kernel
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.answers import on, time_dtype
from fewstep.core.rng import Fill
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.weights import Weights

Move = Callable[[int], Any]
"""``move(i)`` combines row i in place."""

_LARGE = 8192
"""Numbers in an item from which on the overhead of operations does not count."""


def combination(way: str, x: Tensor, ring: Tensor, w: Weights) -> Move:
    """Prepare the combination of all rows.

    Parameters
    ----------
    way
        ``"product"``, ``"terms"`` or ``"compiled"``.
    x
        The state, real and flat.
    ring
        What is combined, [slots, numel of x].
    w
        The numbers; with ``"terms"`` made with ``unit=True``.

    Returns
    -------
    callable
        ``move(i)``.
    """
    return {"product": _product, "terms": _terms, "compiled": _compiled}[way](x, ring, w)


def is_product(x: Tensor, table: Tableau) -> bool:
    """Whether a matrix-vector product pays: for small items it has less overhead; it is exact in full precision only.

    The choice depends on the item, not on the batch, which must not show in the result.
    """
    small = x[0].numel() < _LARGE or bool(table.mix[:, 0].any())
    return small and x.device.type == "cpu" and real(x).dtype in (torch.float32, torch.float64)


def with_noise(combine: Move, x: Tensor, noise: Any, fill: Fill) -> Move:
    """A combination and then the noise of each row that draws any, in memory of its own."""
    if not noise.any():
        return combine
    drawn, amounts = torch.empty_like(x), noise.tolist()

    def move(i: int) -> None:
        combine(i)
        if amounts[i]:
            x.add_(fill(drawn, i), alpha=amounts[i])

    return move


def real(x: Tensor) -> Tensor:
    """The same memory as real numbers."""
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


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
