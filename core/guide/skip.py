"""Skip-Tuning: weaken a U-Net's skip connections while it samples (Ma et al. 2024, arXiv:2402.15170).

The skips are what named modules receive; the deepest gets the smallest factor. A hook on the net, not a sampler.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError


@contextmanager
def skip_tuning(
    net: nn.Module, factors: Mapping[str, float], *, argument: int | str, channels: int | None = None
) -> Iterator[nn.Module]:
    """Scale what modules receive through skip connections, inside the block.

    Parameters
    ----------
    net
        Holds the modules; it is as before once the block is left.
    factors
        Module name -> factor, see `rising`; the published ones go from 0.55-0.9 at the bottom to 1 at the top.
    argument
        Which argument of each module's forward is the skip, by position or keyword: a tensor or several.
    channels
        If the skip is joined to something else there: it is the last so many channels (dimension 1).

    Yields
    ------
    torch.nn.Module
        The net.

    Raises
    ------
    UsageError
        If there is no module of a name, or it is called without the argument.

    References
    ----------
    Ma et al. 2024, arXiv:2402.15170.
    """
    modules = dict(net.named_modules())
    absent = [name for name in factors if name not in modules]
    if absent:
        raise UsageError(f"the net has no modules {', '.join(absent)}")
    with ExitStack() as hooks:
        for name, factor in factors.items():
            hook = partial(_scaled, name, factor, argument, channels)
            hooks.callback(modules[name].register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield net


def rising(names: list[str], bottom: float, top: float = 1.0) -> dict[str, float]:
    """Factors that grow linearly from the first name, the deepest, to the last.

    Parameters
    ----------
    names
        Of modules, from the bottom of the net to its top.
    bottom, top
        First and last factor.

    Returns
    -------
    dict
        For `skip_tuning`.
    """
    last = max(len(names) - 1, 1)
    return {name: bottom + (top - bottom) * i / last for i, name in enumerate(names)}


def _scaled(
    name: str,
    factor: float,
    argument: int | str,
    channels: int | None,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(argument, str) and argument in kwargs:
        return args, {**kwargs, argument: _times(kwargs[argument], factor, channels)}
    if isinstance(argument, int) and argument < len(args):
        return (*args[:argument], _times(args[argument], factor, channels), *args[argument + 1 :]), kwargs
    raise UsageError(f"{name} was called without argument {argument!r}: say where its skip connection arrives")


def _times(skip: Any, factor: float, channels: int | None) -> Any:
    if not isinstance(skip, Tensor):
        return type(skip)(_times(part, factor, channels) for part in skip)
    if channels is None:
        return skip * factor
    return torch.cat([skip[:, :-channels], skip[:, -channels:] * factor], dim=1)
