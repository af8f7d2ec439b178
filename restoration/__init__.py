"""Image restoration in few steps: super-resolution, denoising, deblurring, inpainting."""

__all__ = ["Restorer", "Restored", "Draws"]

_HOMES = {"Restorer": "fewstep.restoration.api", "Restored": "fewstep.restoration.results"}
_HOMES["Draws"] = _HOMES["Restored"]


def __getattr__(name: str):
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
