"""Compile the blocks of a net and leave the decisions of a cache outside, so that nothing is compiled twice."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from fewstep.core.caches.install import is_wrapped
from fewstep.core.caches.scope import named
from fewstep.core.errors import UsageError


@contextmanager
def compiled(net: nn.Module, pattern: str, **options: Any) -> Iterator[nn.Module]:
    """Compile the forward of each named block inside the block; attach caches within.

    Compiling the whole net around a cache makes the compiler specialise on every row; the blocks have one graph.

    Parameters
    ----------
    net
        Any.
    pattern
        Of the blocks, see `fewstep.core.caches.outputs`.
    options
        Of `torch.compile`.

    Yields
    ------
    torch.nn.Module
        The net.

    Raises
    ------
    UsageError
        If nothing matches, or caches are attached already.
    """
    if is_wrapped(net):
        raise UsageError("compile the blocks before caches are attached: with compiled(...): with attach(...): ...")
    with ExitStack() as undo:
        for _, module in named(net, pattern):
            before = module.__dict__.get("forward")
            module.forward = torch.compile(module.forward, **options)
            undo.callback(_restore, module, before)
        yield net


def _restore(module: nn.Module, before: Any) -> None:
    del module.__dict__["forward"]
    if before is not None:
        module.forward = before
