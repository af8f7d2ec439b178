"""Image restoration in few steps: super-resolution, denoising, deblurring, inpainting."""

__all__ = ["Restorer", "Restored", "Draws"]


def __getattr__(name: str):
    if name in __all__:
        from fewstep.restoration import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
