"""Siemens' protocol inside raw data: where the slices lie, and the parameters of the sequence.

From a slice's normal n, the phase direction before the rotation within the plane is n_z, −n_y (axial), n_y, −n_x
(coronal) or −n_y, n_x (sagittal) in the plane of the two axes named, of unit length; the readout is n x phase.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import Geometry, unknown, vector
from fewstep.mri.read.check import number
from fewstep.mri.scan import ScanInfo


def geometry(yaps: Any, slices: int, volume: bool, thickness: float) -> Geometry:
    """Place of all slices, or of the partitions of one slab; unknown if the protocol has another number of slices.

    Parameters
    ----------
    yaps
        The protocol.
    slices
        Slices, or partitions.
    volume
        Whether they are partitions.
    thickness
        mm.

    Returns
    -------
    Geometry

    Raises
    ------
    UsageError
        If slices have several orientations.
    """
    count = 1 if volume else slices
    places = [_slice(yaps, i) for i in range(count)]
    if any(place is None for place in places) or value(yaps, "sSliceArray", "lSize") not in (None, float(count)):
        return unknown(slices, thickness)
    normal, middle, turn = places[0]  # type: ignore[misc]
    if any(place[0] @ normal < 0.9999 or abs(place[2] - turn) > 1e-3 for place in places):  # type: ignore[index]
        raise UsageError("its slices lie in several orientations: write each orientation to a file of its own")
    phase, read = _directions(normal, turn)
    if volume:
        steps = (np.arange(slices) - (slices - 1) / 2) * thickness
        middles = [middle + normal * step for step in steps]
    else:
        middles = [place[1] for place in places]  # type: ignore[index]
    return Geometry(vector(phase), vector(read), tuple(vector(m) for m in middles), thickness)


def _slice(yaps: Any, index: int) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Normal, middle and angle within the plane of one slice."""
    at = ("sSliceArray", "asSlice", str(index))
    axes = ("dSag", "dCor", "dTra")
    normal = np.array([value(yaps, *at, "sNormal", axis) or 0.0 for axis in axes])
    middle = np.array([value(yaps, *at, "sPosition", axis) or 0.0 for axis in axes])
    length = np.linalg.norm(normal)
    return (normal / length, middle, value(yaps, *at, "dInPlaneRot") or 0.0) if length > 0.5 else None


def _directions(normal: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Phase and readout directions."""
    x, y, z = normal
    main = int(np.argmax(np.abs(normal)))
    phase = np.array({0: (-y, x, 0.0), 1: (y, -x, 0.0), 2: (0.0, z, -y)}[main])
    phase /= np.linalg.norm(phase)
    read = np.cross(normal, phase)
    phase = math.cos(turn) * phase - math.sin(turn) * read
    return phase, np.cross(normal, phase)


def info(
    file: str, digest: str, header: Any, yaps: Any, echo: int, encoded: tuple[int, int, int], warnings: tuple[str, ...]
) -> ScanInfo:
    """What protocol and header say.

    Parameters
    ----------
    file, digest, warnings, encoded
        As in `ScanInfo`.
    header
        Of the raw data.
    yaps
        The protocol.
    echo
        Which echo time, from 0.

    Returns
    -------
    ScanInfo
    """
    dicom, config = header["Dicom"], header["Config"]
    texts = {
        "Manufacturer": dicom.get("Manufacturer"),
        "ManufacturerModelName": dicom.get("ManufacturersModelName"),
        "InstitutionName": dicom.get("InstitutionName"),
        "DeviceSerialNumber": dicom.get("DeviceSerialNumber"),
        "PatientPosition": config.get("PatientPosition"),
    }
    study = {k: str(int(v) if isinstance(v, float) else v) for k, v in texts.items() if v not in (None, "")}
    milli = {name: value(yaps, name, "0") for name in ("alTR", "alTI")} | {"alTE": value(yaps, "alTE", str(echo))}
    return ScanInfo(
        file=file,
        sha256=digest,
        kind="twix",
        protocol=str(yaps.get(("tProtocolName",), "")).strip('"') or None,
        echo_time=_thousandth(milli["alTE"]),
        repetition_time=_thousandth(milli["alTR"]),
        inversion_time=_thousandth(milli["alTI"]),
        flip_angle=value(yaps, "adFlipAngleDegree", "0"),
        field_strength=number(dicom.get("flMagneticFieldStrength")),
        encoded=encoded,
        study=study,
        warnings=warnings,
    )


def value(yaps: Any, *keys: str) -> float | None:
    """A number of the protocol, by the parts of its name; None if it is not there."""
    return number(yaps.get(keys))


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000
