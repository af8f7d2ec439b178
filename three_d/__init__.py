"""3D shapes in few steps: from words or a picture to a watertight, coloured mesh."""

__all__ = ["ShapeGenerator", "Shape", "Mesh"]

_HOMES = {
    "ShapeGenerator": "fewstep.three_d.api",
    "Shape": "fewstep.three_d.results",
    "Mesh": "fewstep.three_d.mesh.mesh",
}


def __getattr__(name: str):
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
