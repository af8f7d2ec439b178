"""torchaudio, also where its compiled extension cannot be loaded (its wheel beside a CPU build of torch).

Only Python code of torchaudio is used here (transforms and functionals); files are read with soundfile. When the
real extension module fails to load, a stand-in that reports "no extension" takes its place before the import.
"""

from __future__ import annotations

import importlib
import sys
import types


def load() -> types.ModuleType:
    """The torchaudio package.

    Raises
    ------
    ImportError
        If torchaudio is not installed.
    """
    if "torchaudio" in sys.modules:
        return sys.modules["torchaudio"]
    try:
        return importlib.import_module("torchaudio")
    except OSError:  # the shared library asks for a CUDA build
        for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
            del sys.modules[name]
    sys.modules["torchaudio._extension"] = _stand_in()
    return importlib.import_module("torchaudio")


def _stand_in() -> types.ModuleType:
    module = types.ModuleType("torchaudio._extension")
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    module._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    module._check_cuda_version = lambda: None  # type: ignore[attr-defined]
    module.lazy_import_sox_ext = lambda: None  # type: ignore[attr-defined]
    module.fail_if_no_align = _refuse  # type: ignore[attr-defined]
    return module


def _refuse(function):
    def wrapper(*args: object, **kwargs: object):
        raise RuntimeError(f"torchaudio.{function.__name__} needs torchaudio's compiled extension")

    return wrapper
