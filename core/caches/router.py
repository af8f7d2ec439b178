"""A learned schedule per module: HarmoniCa's router (Huang et al. 2024, arXiv:2410.01723).

In training a module's output is a mixture, w fresh + (1 − w) stored, w = sigmoid(logit); what is stored is renewed
where w is above a threshold. Afterwards a module computes at a row if and only if its w is above the threshold.
`fewstep.core.lit.router.RouterModule` trains it. How it fares against fewer steps has not been measured here.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core.caches.cache import Cache
from fewstep.core.caches.install import is_wrapped, replace
from fewstep.core.caches.policy import Schedule
from fewstep.core.caches.scope import named, outputs
from fewstep.core.errors import UsageError

_OPEN = 5.0


class Router(nn.Module):
    """A weight per row and module.

    Parameters
    ----------
    net
        Whose modules are routed.
    pattern
        Of modules that return one tensor, see `fewstep.core.caches.outputs`.
    rows
        Evaluations of the run.
    threshold
        A module is computed where its weight is above this.

    Raises
    ------
    UsageError
        If nothing matches, or there are fewer than two rows.
    """

    def __init__(self, net: nn.Module, pattern: str, rows: int, *, threshold: float = 0.1):
        super().__init__()
        if rows < 2 or not 0 < threshold < 1:
            raise UsageError(f"expected two rows or more and a threshold in (0, 1), got {rows} and {threshold}")
        self.names = [name for name, _ in named(net, pattern)]
        self.logits = nn.Parameter(torch.full((rows - 1, len(self.names)), _OPEN))
        self.threshold = threshold

    @property
    def weights(self) -> Tensor:
        """[rows, modules]; those of the first row are fixed near 1."""
        first = self.logits.new_full((1, self.logits.shape[1]), _OPEN)
        return torch.cat([first, self.logits]).clamp(-_OPEN, _OPEN).sigmoid()

    def schedules(self) -> list[Schedule]:
        """Rows that each module computes."""
        computed = self.weights.detach() > self.threshold
        return [Schedule(len(computed), tuple(column.nonzero().flatten().tolist())) for column in computed.T]

    def caches(self) -> tuple[Cache, ...]:
        """For `fewstep.core.caches.attach`."""
        pairs = zip(self.names, self.schedules(), strict=True)
        return tuple(Cache(outputs(re.escape(name)), schedule) for name, schedule in pairs)


class Mixing:
    """A net whose routed modules answer mixtures while it is `on`; see `mixed`."""

    def __init__(self, router: Router):
        self.router, self.row, self.branch, self.on = router, 0, 0, True
        self._stored: dict[tuple[int, int], Tensor] = {}

    def forget(self) -> None:
        """Begin a trajectory."""
        self.row, self.branch = 0, 0
        self._stored.clear()

    def answer(self, number: int, fresh: Tensor) -> Tensor:
        """What a module hands on."""
        if not self.on:
            return fresh
        key, w = (self.branch, number), self.router.weights[self.row, number]
        stored = self._stored.get(key)
        if stored is None or stored.shape != fresh.shape:
            self._stored[key] = fresh.detach()
            return fresh
        if float(w.detach()) > self.router.threshold:
            self._stored[key] = fresh.detach()
        return w * fresh + (1 - w) * stored


@contextmanager
def mixed(net: nn.Module, router: Router) -> Iterator[Mixing]:
    """Let the routed modules answer mixtures inside the block, with gradients to the router.

    Parameters
    ----------
    net, router
        Of each other.

    Yields
    ------
    Mixing
        To be told the row (and guidance branch) before each call of the net.

    Raises
    ------
    UsageError
        If caches are attached.
    """
    if is_wrapped(net):
        raise UsageError("a router is trained on a net without caches: leave caches.attach first")
    mixing, modules = Mixing(router), dict(net.named_modules())
    with ExitStack() as undo:
        for number, name in enumerate(router.names):
            replace(modules[name], _mixer(mixing, number), undo)
        yield mixing


def _mixer(mixing: Mixing, number: int) -> Callable[..., Any]:
    def wrapper(inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        return mixing.answer(number, inner(*args, **kwargs))

    return wrapper
