"""MRI reconstruction in a few network calls: from the files of scanners to DICOM."""

__all__ = ["Reconstruction", "Reconstructor", "Scan", "read_scans"]

_HOMES = {
    "Reconstruction": "fewstep.mri.api",
    "Reconstructor": "fewstep.mri.api",
    "Scan": "fewstep.mri.scan",
    "read_scans": "fewstep.mri.read",
}


def __getattr__(name: str):
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
