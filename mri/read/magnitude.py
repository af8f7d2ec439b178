"""Magnitude pictures as scans, in the two modes that are honest about them.

A magnitude series is no raw data: it was filtered, interpolated, rounded, and lost its phase. `restore` keeps the band
of k-space that was acquired and lets only the outside be filled; `qa` undersamples it afterwards, as a simulation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier
from fewstep.mri.geometry import Geometry, vector
from fewstep.mri.physics.birdcage import birdcage
from fewstep.mri.physics.masks import make
from fewstep.mri.physics.noise import noise_std
from fewstep.mri.read.check import number
from fewstep.mri.read.series import Series
from fewstep.mri.scan import Scan, ScanInfo

REFUSAL = (
    "is a magnitude picture, not raw data: it was filtered, interpolated and rounded and has lost its phase, so there "
    "is nothing to reconstruct. Say --mode restore to fill in what was not acquired and keep the rest, or --mode qa "
    "--accel R to simulate an undersampled scan"
)


@dataclass(frozen=True)
class Options:
    """How to make a scan of magnitude pictures.

    Parameters
    ----------
    mode
        "restore" or "qa".
    acceleration, mask, centre_fraction, coils, seed
        Of the simulated scan (`qa`): acceleration, kind of mask, fraction of lines fully sampled (None is 0.32 /
        acceleration), simulated coils, seed.
    band
        Acquired (rows, columns), for `restore` of files that do not say.
    enlarge
        `restore`: times as many rows and columns.
    """

    mode: str
    acceleration: float | None = None
    mask: str = "equispaced_fraction"
    centre_fraction: float | None = None
    coils: int = 1
    seed: int = 0
    band: tuple[int, int] | None = None
    enlarge: int = 1


def to_scan(series: Series, info: ScanInfo, options: Options) -> Scan:
    """A stack of magnitude slices as a scan.

    Parameters
    ----------
    series
        From `read_series`, or `read_nifti`.
    info
        What to say of it.
    options
        How.

    Returns
    -------
    Scan
        One coil (or simulated ones), `noise_std` from the border of what was acquired.

    Raises
    ------
    UsageError
        If the mode is not `restore` or `qa`, or lacks what it needs.
    """
    if options.mode == "restore":
        return _restore(series, info, options)
    if options.mode == "qa":
        return _qa(series, info, options)
    raise UsageError(f"{info.file}: {REFUSAL}")


def series_info(series: Series, name: str, digest: str) -> ScanInfo:
    """What DICOM headers say."""
    header = series.headers[0]
    text = str(header.get("ProtocolName") or header.get("SeriesDescription") or "") or None
    return ScanInfo(
        file=name,
        sha256=digest,
        kind="dicom",
        protocol=text,
        echo_time=number(header.get("EchoTime")),
        repetition_time=number(header.get("RepetitionTime")),
        inversion_time=number(header.get("InversionTime")),
        flip_angle=number(header.get("FlipAngle")),
        field_strength=number(header.get("MagneticFieldStrength")),
        warnings=series.warnings,
    )


def digest_of(series: Series) -> str:
    """A hash of which objects a series is made of, and of their pixels."""
    total = hashlib.sha256(np.ascontiguousarray(series.values).tobytes())
    for header in series.headers:
        total.update(str(header.get("SOPInstanceUID", "")).encode())
    return total.hexdigest()


def acquired_band(header: Any, size: tuple[int, int], spacing: tuple[float, float, float]) -> tuple[int, int] | None:
    """Rows and columns of k-space that were acquired, on the grid of the picture; None if the header does not say.

    Parameters
    ----------
    header
        AcquisitionMatrix (whose entries some vendors misplace), PercentPhaseFieldOfView and
        InPlanePhaseEncodingDirection are read.
    size, spacing
        (rows, columns) and mm of the picture.

    Returns
    -------
    tuple of int, or None
    """
    matrix = [int(v) for v in header.get("AcquisitionMatrix") or []]
    if len(matrix) != 4:
        return None
    phase = 0 if str(header.get("InPlanePhaseEncodingDirection", "ROW")).startswith("COL") else 1
    frequency_steps, phase_steps = matrix[0] or matrix[1], matrix[2] or matrix[3]
    if min(frequency_steps, phase_steps) < 1:
        return None
    band = [phase_steps, frequency_steps] if phase == 0 else [frequency_steps, phase_steps]
    percent = number(header.get("PercentPhaseFieldOfView"))
    if percent and percent > 0:  # the picture may show more, or less, than the field that was encoded
        fields = [size[axis] * spacing[axis] for axis in (0, 1)]
        band[phase] = round(band[phase] * fields[phase] / (fields[1 - phase] * percent / 100))
    return min(band[0], size[0]), min(band[1], size[1])


def _restore(series: Series, info: ScanInfo, options: Options) -> Scan:
    size = (series.values.shape[1], series.values.shape[2])
    band = options.band or (acquired_band(series.headers[0], size, series.spacing) if series.headers else None)
    if band is None:
        raise UsageError(
            f"{info.file}: does not say how much of k-space was acquired (AcquisitionMatrix): give --band ROWS COLUMNS"
        )
    if not all(1 <= b <= n for b, n in zip(band, size, strict=True)):
        raise UsageError(f"{info.file}: expected a band of at most {list(size)}, got {list(band)}")
    times = options.enlarge
    if times not in (1, 2, 3, 4):
        raise UsageError(f"expected to enlarge 1 to 4 times, got {times}")
    grid = (size[0] * times, size[1] * times)
    if band == grid:
        raise UsageError(
            f"{info.file}: was acquired with all of its {size[0]} x {size[1]} matrix, so there is nothing to fill in: "
            f"give --enlarge 2 for a finer one, or --band"
        )
    kspace = Fourier(size, (0, 1)).apply(torch.from_numpy(series.values).to(torch.complex64))
    mask = torch.zeros(1, *grid, dtype=torch.bool)
    full = kspace.new_zeros(len(kspace), *grid)
    spans = [slice(n // 2 - b // 2, n // 2 - b // 2 + b) for n, b in zip(grid, band, strict=True)]
    inner = [slice(n // 2 - b // 2, n // 2 - b // 2 + b) for n, b in zip(size, band, strict=True)]
    mask[:, spans[0], spans[1]] = True
    full[:, spans[0], spans[1]] = kspace[:, inner[0], inner[1]] * times  # keeps the values of the picture
    whole = full.unsqueeze(1)
    spacing = (series.spacing[0] / times, series.spacing[1] / times, series.spacing[2])
    geometry = series.geometry if times == 1 else _finer(series, size, times)
    scan = _scan(whole, mask, spacing, geometry, series, info, options)
    return scan.warn("magnitude: noise is Rician, and what is filled in outside of the acquired band is a guess")


def _finer(series: Series, size: tuple[int, int], times: int) -> Geometry:
    """The middle of a picture whose pixel n//2 stays where it was, on a finer grid."""
    g, middles = series.geometry, []
    for middle in g.middles:
        moved = np.array(middle)
        for axis, direction in ((0, g.column_direction), (1, g.row_direction)):
            n, d = size[axis], series.spacing[axis]
            before = (n // 2 - (n - 1) / 2) * d
            after = (n * times // 2 - (n * times - 1) / 2) * d / times
            moved = moved + np.array(direction) * (before - after)
        middles.append(vector(moved))
    return Geometry(g.row_direction, g.column_direction, tuple(middles), g.thickness)


def _qa(series: Series, info: ScanInfo, options: Options) -> Scan:
    if options.acceleration is None or options.acceleration <= 1:
        raise UsageError(f"mode qa needs an acceleration above 1: give --accel, got {options.acceleration}")
    image = torch.from_numpy(series.values).to(torch.complex64)
    size = (image.shape[1], image.shape[2])
    header = series.headers[0] if series.headers else {}
    by_rows = str(header.get("InPlanePhaseEncodingDirection", "ROW")).startswith("COL")
    fraction = options.centre_fraction or 0.32 / options.acceleration
    shape = (size[1], size[0]) if by_rows else size
    whole_rate = options.mask in ("equispaced", "magic", "magic_fraction")
    rate = int(options.acceleration) if whole_rate and options.acceleration == int(options.acceleration) else None
    mask = make(
        options.mask, shape, acceleration=rate or options.acceleration, centre_fraction=fraction, seed=options.seed
    )
    mask = (mask.mT if by_rows else mask).expand(size).unsqueeze(0)
    maps = birdcage(options.coils, size) if options.coils > 1 else torch.ones(1, *size, dtype=torch.complex64)
    kspace = Fourier((len(maps), *size), (-2, -1)).apply(image.unsqueeze(1) * maps) * mask
    scan = _scan(kspace, mask, series.spacing, series.geometry, series, info, options, reference=image)
    return scan.warn(
        "a simulation: magnitude pictures have no phase and were filtered before, so its figures flatter every method"
    )


def _scan(
    kspace: Tensor,
    mask: Tensor,
    spacing: tuple[float, float, float],
    geometry: Geometry,
    series: Series,
    info: ScanInfo,
    options: Options,
    reference: Tensor | None = None,
) -> Scan:
    size = (kspace.shape[-2], kspace.shape[-1])
    return Scan(
        kspace=kspace,
        mask=mask,
        spacing=spacing,
        picture=size,
        geometry=geometry,
        info=info,
        mode=options.mode,
        noise_std=noise_std(kspace, mask),
        label=series.label,
        reference=reference,
        headers=series.headers,
    )
