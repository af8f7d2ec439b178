"""Siemens raw data (twix `.dat`) through pymapvbvd, the extra `twix`; calibration lines and noise scans are used."""

from __future__ import annotations

import contextlib
import io
import warnings as python_warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.physics.maps import estimate_maps
from fewstep.mri.physics.noise import combine, whitening
from fewstep.mri.physics.readout import remove_oversampling
from fewstep.mri.read import yaps as yaps_of
from fewstep.mri.read.check import checked, number, sampled, sha256
from fewstep.mri.read.lines import partitions_to_slices
from fewstep.mri.scan import Scan

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
    field = [
        yaps_of.value(yaps, "sSliceArray", "asSlice", "0", name) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness")
    ]
    if not all(field[:2]):
        raise UsageError(f"{file}: its protocol does not say the field of view")
    thickness = (field[2] or 1.0) / (len(kspace) if values.shape[1] > 1 else 1)
    geometry = yaps_of.geometry(yaps, len(kspace), values.shape[1] > 1, thickness)
    if not geometry.known:
        notes.append("the file does not say where its slices lie")
    spacing = (field[0] / rows, field[1] / kspace.shape[-1], geometry.gap() or thickness)  # type: ignore[operator]
    encoded = (values.shape[3], values.shape[4], values.shape[1])
    about = yaps_of.info(file, digest, twix["hdr"], yaps, echo, encoded, (*warnings, *notes))
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
    if yaps_of.value(yaps, "sPat", "ucRefScanMode") != INTEGRATED:
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
    n = max(columns, int(yaps_of.value(yaps, "sKSpace", "lPhaseEncodingLines") or 0))
    if not 0 < centre < n or centre == columns // 2 == n // 2:
        return values
    n = max(n, centre + n // 2)
    start = n // 2 - centre
    if start < 0 or start + columns > n:
        return values
    out = np.zeros((*values.shape[:-1], n), values.dtype)
    out[..., start : start + columns] = values
    return out
