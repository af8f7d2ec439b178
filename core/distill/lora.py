"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): a student that differs from its teacher by few numbers.

    W' = W + (alpha / rank) B A,      only A and B are trained

through the package `peft` (extra `lora`). An exported student has them merged: it is a plain net again.
"""

import copy
import importlib
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch import nn

from fewstep.core.errors import UsageError


@dataclass(frozen=True)
class Lora:
    """Which layers get adapters.

    Parameters
    ----------
    rank
        Of the change of each layer.
    alpha
        Scale of the change, relative to the rank; default `rank`, so that it is B A itself.
    sites
        Regular expression for the names of the layers; default: every linear and convolutional one.
    seed
        Of the adapters' first values.
    """

    rank: int = 4
    alpha: float | None = None
    sites: str | None = None
    seed: int = 0

    def adapt(self, net: nn.Module) -> nn.Module:
        """A copy of the net with adapters, which alone are to be trained; it answers as the net does at first.

        Raises
        ------
        UsageError
            If the rank is not positive, no layer answers to `sites`, or `peft` is not installed.
        """
        if self.rank < 1:
            raise UsageError(f"expected a rank of at least 1, got {self.rank}")
        peft, net = _peft(), copy.deepcopy(net)
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        sites: Any = self.sites or [name for name, module in net.named_modules() if isinstance(module, kinds)]
        alpha = self.rank if self.alpha is None else self.alpha
        config = peft.LoraConfig(r=self.rank, lora_alpha=alpha, target_modules=sites, bias="none")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            try:
                net = peft.inject_adapter_in_model(config, net)
            except ValueError as error:
                raise UsageError(f"no layer for low-rank adapters answers to {self.sites!r}: {error}") from None
        for name, value in net.named_parameters():
            value.requires_grad_(".lora_" in name)
        return net


def merged(net: nn.Module) -> nn.Module:
    """A copy with its adapters added into the layers that they adapt: a plain net."""
    layer_of = importlib.import_module("peft.tuners.lora").LoraLayer if "peft" in sys.modules else ()
    net = copy.deepcopy(net)
    for name, module in list(net.named_modules()):
        if isinstance(module, layer_of):
            module.merge()
            parent, _, leaf = name.rpartition(".")
            setattr(net.get_submodule(parent), leaf, module.get_base_layer())
    return net


def _peft() -> Any:
    """The package. What it imports by the way, torchaudio, is not needed and may be broken: an empty one stands in."""
    absent = "torchaudio" not in sys.modules
    if absent:
        stand_in = ModuleType("torchaudio")
        stand_in.__spec__ = ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stand_in
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise UsageError(f"low-rank adapters need the package peft: pip install 'fewstep[lora]' ({error})") from None
    finally:
        if absent:
            del sys.modules["torchaudio"]
