"""Speech and speech enhancement, and later music, in a few network calls."""

__all__ = ["Speech", "TextToSpeech", "Enhanced", "Enhancer"]

_HOMES = {"Enhanced": "fewstep.audio.enhance.api", "Enhancer": "fewstep.audio.enhance.api"}


def __getattr__(name: str):
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(_HOMES.get(name, "fewstep.audio.api")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
