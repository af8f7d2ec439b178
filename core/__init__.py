"""The core: paths, times, solvers, what is made of denoisers, and the one loop that samples with them.

Names are loaded when first asked for, so that importing the package is cheap.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewstep.core import caches, consistency, guide, operators, parameterize, paths, solvers, times
    from fewstep.core.sample import sample

__all__ = ["sample", "paths", "times", "solvers", "parameterize", "guide", "operators", "consistency", "caches"]


class _Core(ModuleType):
    """Keeps the name `sample` for the function, which importing the module of that name would take away."""

    def __getattr__(self, name: str) -> Any:
        if name in __all__:
            module = importlib.import_module(f"{__name__}.{name}")
            return module.sample if name == "sample" else module
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value.sample if name == "sample" and isinstance(value, ModuleType) else value)


sys.modules[__name__].__class__ = _Core
