"""Speech, and later music and speech enhancement, in a few network calls."""

__all__ = ["Speech", "TextToSpeech"]


def __getattr__(name: str):
    if name in __all__:
        from fewstep.audio import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
