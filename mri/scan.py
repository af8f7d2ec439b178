"""A scan as it came from a file: k-space, what of it was acquired, where it lies in the patient, what the file says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import Geometry

MODES = ("raw", "restore", "qa")
"""k-space in; a magnitude series whose acquired band is kept; a magnitude series undersampled as a simulation."""


@dataclass(frozen=True)
class ScanInfo:
    """What the file says about a scan; None where it does not.

    Parameters
    ----------
    file
        Name of the source, without its folder.
    sha256
        Of the source file, hex; of a series, of its files' hashes.
    kind
        "fastmri", "ismrmrd", "twix", "npy", "cfl", "nifti", "dicom".
    protocol
        Its name.
    echo_time, repetition_time, inversion_time, flip_angle
        ms, ms, ms, degrees.
    field_strength
        Tesla.
    encoded
        Samples of the encoded matrix, (readout, phase, partition).
    patient, study
        Attributes for DICOM by keyword: PatientID, StudyInstanceUID, StudyDate, ...
    warnings
        Sentences for the user.
    """

    file: str
    sha256: str
    kind: str
    protocol: str | None = None
    echo_time: float | None = None
    repetition_time: float | None = None
    inversion_time: float | None = None
    flip_angle: float | None = None
    field_strength: float | None = None
    encoded: tuple[int, int, int] | None = None
    patient: dict[str, str] = field(default_factory=dict)
    study: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """Slices of one contrast and repetition.

    Parameters
    ----------
    kspace
        complex64 [slice, coil, y, x], centred; zeros where nothing was acquired; readout oversampling removed, whitened
        if the file has noise.
    mask
        bool [slice or 1, y, x], what was acquired.
    spacing
        mm between rows (y), columns (x) and slices.
    picture
        (rows, columns) to cut from the middle of the field of view.
    geometry
        Of the slices.
    info
        What the file says.
    mode
        "raw", "restore" or "qa".
    noise_std
        sqrt(E|n|²) of a complex sample of `kspace` if it was measured, else None.
    label
        Which part of the file this is: "contrast 2", "" if there is only one.
    coil_maps
        complex64 [slice, coil, y, x] if the file has a calibration scan of its own, else None: estimate them.
    reference
        Real or complex [slice, *picture], what the fully sampled scan gives in the same unit; None if unknown.
    headers
        DICOM data sets of the source slices, without pixels, or ().

    Raises
    ------
    UsageError
        If the parts do not fit each other.
    """

    kspace: Tensor
    mask: Tensor
    spacing: tuple[float, float, float]
    picture: tuple[int, int]
    geometry: Geometry
    info: ScanInfo
    mode: str = "raw"
    noise_std: float | None = None
    label: str = ""
    coil_maps: Tensor | None = None
    reference: Tensor | None = None
    headers: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.kspace.ndim != 4 or not self.kspace.is_complex():
            raise UsageError(f"expected complex k-space [slice, coil, y, x], got {list(self.kspace.shape)}")
        slices, _, *shape = self.kspace.shape
        if self.mask.ndim != 3 or len(self.mask) not in (1, slices) or list(self.mask.shape[1:]) != shape:
            raise UsageError(f"expected a mask [1 or {slices}, {shape[0]}, {shape[1]}], got {list(self.mask.shape)}")
        if len(self.geometry.middles) != slices:
            raise UsageError(f"expected the place of {slices} slices, got {len(self.geometry.middles)}")
        if any(not 1 <= size <= n for size, n in zip(self.picture, shape, strict=True)):
            raise UsageError(f"expected a picture of at most {shape}, got {list(self.picture)}")
        if self.mode not in MODES:
            raise UsageError(f"expected a mode among {', '.join(MODES)}, got {self.mode!r}")

    @property
    def slices(self) -> int:
        """How many."""
        return len(self.kspace)

    @property
    def acceleration(self) -> float:
        """Samples of the grid over samples acquired."""
        return self.mask.numel() / max(1, int(self.mask.sum()))

    @property
    def name(self) -> str:
        """File and label."""
        return f"{self.info.file}, {self.label}" if self.label else self.info.file

    def warn(self, *sentences: str) -> Scan:
        """The same with more warnings."""
        return replace(self, info=replace(self.info, warnings=(*self.info.warnings, *sentences)))

    def take(self, slices: list[int]) -> Scan:
        """Some of the slices."""

        def some(values: Tensor | None) -> Tensor | None:
            return values if values is None else values[slices]

        return replace(
            self,
            kspace=self.kspace[slices],
            mask=self.mask if len(self.mask) == 1 else self.mask[slices],
            geometry=self.geometry.take(slices),
            coil_maps=some(self.coil_maps),
            reference=some(self.reference),
            headers=tuple(self.headers[i] for i in slices) if self.headers else (),
        )
