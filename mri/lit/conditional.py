"""Training of the conditional net: a `DiffusionModule` that may start from the unconditional prior's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError
from fewstep.core.lit.diffusion import DiffusionModule
from fewstep.core.paths import AffinePath
from fewstep.core.pretrained import Pretrained


class ConditionalModule(DiffusionModule):
    """A conditional net.

    Parameters
    ----------
    net, path
        As for `DiffusionModule`.
    start
        A prior to start from: a model that ships, a folder or a hub id; None: random weights. Where a tensor has more
        input channels than the prior's, those of the condition start at 0.
    options
        As for `DiffusionModule`.

    Raises
    ------
    UsageError
        If the prior's net is another one.
    """

    def __init__(self, net: nn.Module, path: AffinePath, *, start: str | Path | None = None, **options: Any):
        super().__init__(net, path, **options)
        if start is not None:
            widen(net, Pretrained.load(start).net.state_dict())


def widen(net: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load a narrower net's weights, zeros for the input channels that it lacks.

    Parameters
    ----------
    net
        Of the same architecture, with a condition.
    weights
        State of the net without one.

    Raises
    ------
    UsageError
        If names differ, or a shape differs in more than its input channels.
    """
    state = net.state_dict()
    if state.keys() != weights.keys():
        raise UsageError(f"expected weights of the same net, these differ: {sorted(state.keys() ^ weights.keys())[:3]}")
    for name, value in weights.items():
        mine = state[name]
        if mine.shape == value.shape:
            state[name] = value
            continue
        if mine.ndim < 2 or mine.shape[0] != value.shape[0] or mine.shape[2:] != value.shape[2:]:
            raise UsageError(f"{name}: expected the shape {list(mine.shape)}, got {list(value.shape)}")
        state[name] = torch.cat([value, torch.zeros_like(mine[:, value.shape[1] :])], 1)
    net.load_state_dict(state)
