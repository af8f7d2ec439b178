"""Siemens raw data (twix `.dat`) through pymapvbvd, the extra `twix`; the orientation is that of the protocol's slices.

From a slice's normal n, the phase direction before the rotation within the plane is n_z, −n_y (axial), n_y, −n_x
(coronal) or −n_y, n_x (sagittal) in the plane of the two axes named, of unit length; the readout is n x phase.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings as python_warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import Geometry, unknown, vector
from fewstep.mri.physics.maps import estimate_maps
from fewstep.mri.physics.noise import combine, whitening
from fewstep.mri.physics.readout import remove_oversampling
from fewstep.mri.read.check import checked, number, sampled, sha256
from fewstep.mri.read.lines import partitions_to_slices
from fewstep.mri.scan import Scan, ScanInfo

LABELS = {"Phs": "phase", "Eco": "contrast", "Rep": "repetition", "Set": "set"}
DIMENSIONS = ("Col", "Cha", "Lin", "Par", "Sli", "Ave", "Phs", "Eco", "Rep", "Set", "Seg")


def read_twix(file: Path) -> list[Scan]:
    """All scans of the last measurement of a twix file; averages and segments are put together.

    Parameters
    ----------
    file
        `.dat`.

    Returns
    -------
    list of Scan
        One per cardiac phase, echo, repetition and set.

    Raises
    ------
    UsageError
        If the extra is not installed, or the file is damaged or has no image data.
    """
    twix = _open(file)
    data = _data(twix["image"], file.name)
    yaps = twix["hdr"]["MeasYaps"]
    data, calibration = _with_reference(data, twix, yaps, file.name)
    noise = _noise(twix)
    digest = sha256(file)
    varying = [(DIMENSIONS.index(name), label) for name, label in LABELS.items()]
    counts = [data.shape[axis] for axis, _ in varying]
    scans = []
    for index in np.ndindex(*counts):
        part = data
        for (axis, _), i in zip(varying, index, strict=True):
            part = part.take([i], axis)
        label = ", ".join(f"{name} {i + 1}" for (_, name), i, n in zip(varying, index, counts, strict=True) if n > 1)
        scans.append(_scan(file.name, digest, _sorted(part), twix, yaps, noise, calibration, label, index[1]))
    return scans


def _sorted(data: np.ndarray) -> np.ndarray:
    """[slice, partition, coil, readout, phase]; dimensions after the slice have size 1."""
    return data.reshape(data.shape[:5]).transpose(4, 3, 1, 0, 2)


def _scan(
    file: str,
    digest: str,
    values: np.ndarray,
    twix: Any,
    yaps: Any,
    noise: np.ndarray | None,
    calibration: np.ndarray | None,
    label: str,
    echo: int,
) -> Scan:
    kspace = torch.from_numpy(_centred(np.ascontiguousarray(values), twix["image"], yaps))
    notes: list[str] = []
    if kspace.shape[1] > 1:
        mask = (kspace != 0).any(2)
        kspace, _, notes = partitions_to_slices(kspace, mask, file)
    else:
        kspace = kspace[:, 0]
    kspace, alive, warnings = checked(kspace, file)
    mask, level, white = sampled(kspace), None, None
    if noise is not None and len(noise) > max(alive):
        try:
            white, level = whitening(torch.from_numpy(noise[alive])), 1.0
            kspace = combine(white, kspace)
        except UsageError as error:
            notes.append(f"its noise scan cannot be used ({error})")
    factor = number(twix["hdr"]["Dicom"].get("flReadoutOSFactor")) or 2.0
    rows = round(kspace.shape[-2] / max(1.0, factor))
    kspace = remove_oversampling(kspace, rows)
    mask = mask.any(-2, keepdim=True).expand(-1, rows, -1)
    kspace = kspace * mask.unsqueeze(1)
    maps = None
    if calibration is not None and calibration.shape[:2] == (len(kspace), 1):
        maps, more = _maps(calibration[:, 0][:, alive], white, kspace)
        notes += more
    field = [_value(yaps, "sSliceArray", "asSlice", "0", name) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness")]
    if not all(field[:2]):
        raise UsageError(f"{file}: its protocol does not say the field of view")
    thickness = (field[2] or 1.0) / (len(kspace) if values.shape[1] > 1 else 1)
    geometry = _geometry(yaps, len(kspace), values.shape[1] > 1, thickness)
    if not geometry.known:
        notes.append("the file does not say where its slices lie")
    spacing = (field[0] / rows, field[1] / kspace.shape[-1], geometry.gap() or thickness)  # type: ignore[operator]
    encoded = (values.shape[3], values.shape[4], values.shape[1])
    about = _info(file, digest, twix["hdr"], yaps, echo, encoded, (*warnings, *notes))
    return Scan(
        kspace, mask, spacing, (rows, kspace.shape[-1]), geometry, about, noise_std=level, label=label, coil_maps=maps
    )


def _open(file: Path) -> Any:
    try:
        import mapvbvd
    except ImportError as error:
        raise UsageError(f"{file.name}: Siemens raw data need pymapvbvd: pip install 'fewstep[twix]'") from error
    try:
        with _quietly():
            twix = mapvbvd.mapVBVD(str(file), quiet=True)
    except Exception as error:  # the parser raises whatever its buffers do
        raise UsageError(
            f"{file.name}: cannot be read as Siemens raw data ({type(error).__name__}: {error})"
        ) from error
    twix = twix[-1] if isinstance(twix, list) else twix
    if twix is None or "image" not in twix:
        raise UsageError(f"{file.name}: holds no image data")
    return twix


INTEGRATED = 2.0
"""sPat.ucRefScanMode where calibration lines belong to the scan itself."""


def _with_reference(data: np.ndarray, twix: Any, yaps: Any, file: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Calibration lines put into the scan if they are part of it; else as [slice, partition, coil, readout, phase]."""
    if "refscan" not in twix:
        return data, None
    reference = _data(twix["refscan"], file)
    first = reference[:, :, :, :, :, :1, :1, :1, :1, :1, :1]
    if reference.shape[:2] != data.shape[:2]:
        return data, None
    if _value(yaps, "sPat", "ucRefScanMode") != INTEGRATED:
        return data, _sorted(first)
    lines = max(data.shape[2], first.shape[2])
    out = np.zeros((*data.shape[:2], lines, *data.shape[3:]), data.dtype)
    out[:, :, : data.shape[2]] = data
    filled = np.zeros_like(out[..., :1, :1, :1, :1, :1, :1])
    parts, slices = min(out.shape[3], first.shape[3]), min(out.shape[4], first.shape[4])
    filled[:, :, : first.shape[2], :parts, :slices] = first[:, :, :, :parts, :slices]
    missing = ~(out != 0).any((0, 1), keepdims=True)
    return np.where(missing, filled, out), None


def _maps(calibration: np.ndarray, white: Tensor | None, like: Tensor) -> tuple[Tensor | None, list[str]]:
    """Coil maps from a reference scan of its own, [slice, coil, readout, phase], whatever number of lines it has."""
    lines = torch.from_numpy(np.ascontiguousarray(calibration))
    lines = lines if white is None else combine(white, lines)
    lines = remove_oversampling(lines, like.shape[-2])
    used = torch.nonzero((lines != 0).flatten(0, 2).any(0)).flatten()
    if not len(used):
        return None, []
    first, last = int(used[0]), int(used[-1]) + 1
    energy = lines.abs().square().sum((0, 1, 2))
    start = like.shape[-1] // 2 - int(energy.argmax())  # the centre of k-space is its brightest line
    if start + first < 0 or start + last > like.shape[-1]:
        return None, ["its reference scan has more lines than the scan and was left out"]
    whole, mask = torch.zeros_like(like), torch.zeros(1, like.shape[-1], dtype=torch.bool)
    whole[..., start + first : start + last] = lines[..., first:last]
    mask[:, start + used] = True
    try:
        found = estimate_maps(whole, mask)
    except UsageError as error:
        return None, [f"its reference scan was left out ({error})"]
    return found.maps, list(found.warnings)


def _data(image: Any, file: str) -> np.ndarray:
    image.flagRemoveOS = False
    image.flagSkipToFirstLine = False
    image.flagDoAverage = True
    image.flagIgnoreSeg = True
    image.squeeze = False
    try:
        with _quietly():
            data = np.asarray(image[""], np.complex64)
    except Exception as error:
        raise UsageError(f"{file}: is truncated or damaged ({type(error).__name__}: {error})") from error
    return data.reshape(data.shape[: len(DIMENSIONS)])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The parser prints, draws progress bars and warns."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        python_warnings.catch_warnings(),
    ):
        python_warnings.simplefilter("ignore")
        yield


def _noise(twix: Any) -> np.ndarray | None:
    if "noise" not in twix:
        return None
    samples = twix["noise"]
    samples.flagRemoveOS = False
    samples.squeeze = False
    with _quietly():
        data = np.asarray(samples[""], np.complex64)
    return np.moveaxis(data, 1, 0).reshape(data.shape[1], -1)


def _centred(values: np.ndarray, image: Any, yaps: Any) -> np.ndarray:
    """Lines placed so that the centre of k-space is in the middle, where the file says which that is."""
    centre = int(np.median(image.centerLin))
    columns = values.shape[-1]
    n = max(columns, int(_value(yaps, "sKSpace", "lPhaseEncodingLines") or 0))
    if not 0 < centre < n or centre == columns // 2 == n // 2:
        return values
    n = max(n, centre + n // 2)
    start = n // 2 - centre
    if start < 0 or start + columns > n:
        return values
    out = np.zeros((*values.shape[:-1], n), values.dtype)
    out[..., start : start + columns] = values
    return out


def _geometry(yaps: Any, slices: int, volume: bool, thickness: float) -> Geometry:
    count = 1 if volume else slices
    places = [_slice(yaps, i) for i in range(count)]
    if any(place is None for place in places) or _value(yaps, "sSliceArray", "lSize") not in (None, float(count)):
        return unknown(slices, thickness)
    normal, middle, turn = places[0]  # type: ignore[misc]
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
    normal = np.array([_value(yaps, *at, "sNormal", axis) or 0.0 for axis in axes])
    middle = np.array([_value(yaps, *at, "sPosition", axis) or 0.0 for axis in axes])
    length = np.linalg.norm(normal)
    return (normal / length, middle, _value(yaps, *at, "dInPlaneRot") or 0.0) if length > 0.5 else None


def _directions(normal: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Phase and readout directions."""
    x, y, z = normal
    main = int(np.argmax(np.abs(normal)))
    phase = np.array({0: (-y, x, 0.0), 1: (y, -x, 0.0), 2: (0.0, z, -y)}[main])
    phase /= np.linalg.norm(phase)
    read = np.cross(normal, phase)
    phase = math.cos(turn) * phase - math.sin(turn) * read
    return phase, np.cross(normal, phase)


def _info(
    file: str, digest: str, header: Any, yaps: Any, echo: int, encoded: tuple[int, int, int], warnings: tuple[str, ...]
) -> ScanInfo:
    dicom, config = header["Dicom"], header["Config"]
    texts = {
        "Manufacturer": dicom.get("Manufacturer"),
        "ManufacturerModelName": dicom.get("ManufacturersModelName"),
        "InstitutionName": dicom.get("InstitutionName"),
        "DeviceSerialNumber": dicom.get("DeviceSerialNumber"),
        "PatientPosition": config.get("PatientPosition"),
    }
    study = {k: str(int(v) if isinstance(v, float) else v) for k, v in texts.items() if v not in (None, "")}
    milli = {name: _value(yaps, name, "0") for name in ("alTR", "alTI")} | {"alTE": _value(yaps, "alTE", str(echo))}
    return ScanInfo(
        file=file,
        sha256=digest,
        kind="twix",
        protocol=str(yaps.get(("tProtocolName",), "")).strip('"') or None,
        echo_time=_thousandth(milli["alTE"]),
        repetition_time=_thousandth(milli["alTR"]),
        inversion_time=_thousandth(milli["alTI"]),
        flip_angle=_value(yaps, "adFlipAngleDegree", "0"),
        field_strength=number(dicom.get("flMagneticFieldStrength")),
        encoded=encoded,
        study=study,
        warnings=warnings,
    )


def _value(yaps: Any, *keys: str) -> float | None:
    return number(yaps.get(keys))


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000
