"""Replace `forward` on instances of modules, so that classes, names and weights stay as they are, and put it back."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any

from torch import nn

from fewstep.core.caches.gate import Gate
from fewstep.core.caches.scope import Site
from fewstep.core.errors import UsageError

_MARK = "_fewstep_cache"


def is_wrapped(net: nn.Module) -> bool:
    """Whether any module of the net has a forward of a cache's."""
    return any(hasattr(module.__dict__.get("forward"), _MARK) for module in net.modules())


def replace(module: nn.Module, wrapper: Callable[..., Any], undo: ExitStack) -> None:
    """Put ``wrapper(forward, args, kwargs)`` in the place of a module's forward until `undo` is closed.

    Parameters
    ----------
    module
        Any.
    wrapper
        Told the forward that was there.
    undo
        Puts back what was there.
    """
    had, inner = "forward" in module.__dict__, module.forward

    @wraps(inner)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return wrapper(inner, args, kwargs)

    setattr(forward, _MARK, True)
    module.forward = forward
    undo.callback(_restore, module, inner if had else None)


def _restore(module: nn.Module, inner: Any) -> None:
    if inner is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = inner


def probed(net: nn.Module, gate: Gate, sites: list[Site]) -> nn.Module:
    """The module that a gate looks at.

    Parameters
    ----------
    net, gate, sites
        What is attached.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    UsageError
        If the gate names none and nothing runs before the first site, or there is none of its name.
    """
    if gate.probe is None:
        if sites[0].before is None:
            raise UsageError("this gate needs a probe: a span from the second block on, or probe= with a module's name")
        return sites[0].before
    modules = dict(net.named_modules())
    if gate.probe not in modules:
        raise UsageError(f"the gate's probe {gate.probe!r} is no module of {type(net).__name__}")
    return modules[gate.probe]
