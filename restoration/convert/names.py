"""Renaming of tensors from another layout to ours, and what is common to converters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core.checkpoint import load_weights_only
from fewstep.core.errors import UsageError

Rules = Sequence[tuple[str, str]]


def renamed(weights: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Apply rules to each name.

    Parameters
    ----------
    weights
        A state dict.
    rules
        Pattern and replacement, as for `re.sub`, applied one after the other.

    Returns
    -------
    dict
        Under the new names.
    """
    out = {}
    for name, value in weights.items():
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        out[new] = value
    return out


def read_weights(
    file: str | Path, *, keys: Iterable[str] = ("params_ema", "params", "state_dict")
) -> dict[str, Tensor]:
    """The tensors of a checkpoint, without unpickling anything else.

    Parameters
    ----------
    file
        ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors``.
    keys
        Where the state dict may lie inside; the first that is there.

    Returns
    -------
    dict
        Without prefixes of wrappers (``module.``, ``_orig_mod.``).

    Raises
    ------
    UsageError
        If the file holds no tensors.
    """
    if str(file).endswith(".safetensors"):
        from safetensors.torch import load_file

        content: Any = load_file(file)
    else:
        content = load_weights_only(file)
    found = next((content[key] for key in keys if isinstance(content.get(key), Mapping)), content)
    weights = {
        re.sub(r"^(module\.|_orig_mod\.)+", "", name): value
        for name, value in found.items()
        if isinstance(value, Tensor)
    }
    if not weights:
        raise UsageError(f"{file} holds no tensors under {', '.join(keys)} or at its top")
    return weights


def filled(net: nn.Module, weights: Mapping[str, Tensor], *, what: str) -> nn.Module:
    """Load all weights, or say what does not fit.

    Parameters
    ----------
    net
        Of our layout.
    weights
        Under our names.
    what
        For the message.

    Returns
    -------
    torch.nn.Module
        `net`, in evaluation mode, without gradients.

    Raises
    ------
    UsageError
        If a tensor is missing, left over or of another shape.
    """
    state = net.state_dict()
    faults = [f"missing {name}" for name in state if name not in weights]
    faults += [f"left over {name}" for name in weights if name not in state]
    faults += [
        f"{name}: expected {list(value.shape)}, got {list(weights[name].shape)}"
        for name, value in state.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if faults:
        raise UsageError(f"these are not the weights of {what}: {'; '.join(faults[:4])} ({len(faults)} faults)")
    net.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()})
    return net.eval().requires_grad_(False)
