"""The ISMRMRD XML header, which ISMRMRD and fastMRI files carry: matrices, fields of view, protocol, patient.

Inati et al. 2017, doi:10.1002/mrm.26089; schema: https://github.com/ismrmrd/ismrmrd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fewstep.core.errors import UsageError
from fewstep.mri.read.check import number
from fewstep.mri.scan import ScanInfo

PATIENT = {
    "PatientName": "patientName",
    "PatientID": "patientID",
    "PatientBirthDate": "patientBirthdate",
    "PatientSex": "patientGender",
    "PatientWeight": "patientWeight_kg",
}
STUDY = {
    "StudyDate": "studyDate",
    "StudyTime": "studyTime",
    "StudyID": "studyID",
    "AccessionNumber": "accessionNumber",
    "ReferringPhysicianName": "referringPhysicianName",
    "StudyDescription": "studyDescription",
    "StudyInstanceUID": "studyInstanceUID",
    "BodyPartExamined": "bodyPartExamined",
}
SYSTEM = {
    "Manufacturer": "systemVendor",
    "ManufacturerModelName": "systemModel",
    "InstitutionName": "institutionName",
    "StationName": "stationName",
    "DeviceSerialNumber": "deviceSerialNumber",
}
MEASUREMENT = {
    "PatientPosition": "patientPosition",
    "FrameOfReferenceUID": "frameOfReferenceUID",
    "SeriesDescription": "seriesDescription",
    "SeriesNumber": "initialSeriesNumber",
}


@dataclass(frozen=True)
class Space:
    """Matrix and field of view (mm) along (readout, phase, partition)."""

    matrix: tuple[int, int, int]
    field: tuple[float, float, float]


@dataclass(frozen=True)
class Encoding:
    """One encoding of a header.

    Parameters
    ----------
    encoded, recon
        Spaces.
    centres
        Index of the centre of k-space along (phase, partition), None where the header does not say.
    trajectory
        "cartesian", "epi", "radial", ...
    calibration
        "embedded", "separate", "external", "interleaved", "other" or None.
    """

    encoded: Space
    recon: Space
    centres: tuple[int | None, int | None]
    trajectory: str
    calibration: str | None


def parse(xml: Any, file: str) -> Any:
    """The header as an object.

    Raises
    ------
    UsageError
        If it is no ISMRMRD header, or has no encoding.
    """
    import ismrmrd.xsd

    try:
        header = ismrmrd.xsd.CreateFromDocument(xml)
    except Exception as error:  # the parser raises whatever its libraries do
        raise UsageError(f"{file}: its ISMRMRD header cannot be read ({type(error).__name__}: {error})") from error
    if not getattr(header, "encoding", None):
        raise UsageError(f"{file}: its ISMRMRD header says nothing of the encoding (matrix and field of view)")
    return header


def encoding(header: Any, index: int, file: str) -> Encoding:
    """One encoding of a header.

    Raises
    ------
    UsageError
        If there is none of this index, or a matrix or field of view is not positive.
    """
    if index >= len(header.encoding):
        raise UsageError(f"{file}: its data belong to encoding {index}, its header has {len(header.encoding)}")
    one = header.encoding[index]
    spaces = [_space(getattr(one, name), file) for name in ("encodedSpace", "reconSpace")]
    limits = one.encodingLimits
    names = ("kspace_encoding_step_1", "kspace_encoding_step_2")
    centres = [getattr(getattr(limits, name, None), "center", None) for name in names]
    parallel = one.parallelImaging
    mode = getattr(parallel, "calibrationMode", None)
    trajectory = getattr(one.trajectory, "value", one.trajectory)
    return Encoding(
        spaces[0],
        spaces[1],
        (centres[0], centres[1]),
        str(trajectory or "cartesian").lower(),
        None if mode is None else str(getattr(mode, "value", mode)),
    )


def info(
    header: Any, *, file: str, sha256: str, kind: str, contrast: int = 0, encoded: tuple[int, int, int]
) -> ScanInfo:
    """What a header says, as a `ScanInfo`.

    Parameters
    ----------
    header
        From `parse`.
    file, sha256, kind, encoded
        As in `ScanInfo`.
    contrast
        Which echo time.

    Returns
    -------
    ScanInfo
    """
    sequence, system = header.sequenceParameters, header.acquisitionSystemInformation
    measurement, subject, study = header.measurementInformation, header.subjectInformation, header.studyInformation
    return ScanInfo(
        file=file,
        sha256=sha256,
        kind=kind,
        protocol=getattr(measurement, "protocolName", None) or None,
        echo_time=_one_of(sequence, "TE", contrast),
        repetition_time=_one_of(sequence, "TR", 0),
        inversion_time=_one_of(sequence, "TI", 0),
        flip_angle=_one_of(sequence, "flipAngle_deg", 0),
        field_strength=number(getattr(system, "systemFieldStrength_T", None)),
        encoded=encoded,
        patient=_texts(subject, PATIENT),
        study=_texts(study, STUDY) | _texts(system, SYSTEM) | _texts(measurement, MEASUREMENT),
    )


def _space(space: Any, file: str) -> Space:
    matrix = tuple(int(getattr(space.matrixSize, axis)) for axis in "xyz")
    field = tuple(float(getattr(space.fieldOfView_mm, axis)) for axis in "xyz")
    if min(matrix) < 1 or not all(0 < size < 1e5 for size in field):
        raise UsageError(f"{file}: its header has a matrix of {matrix} and a field of view of {field} mm")
    return Space(matrix, field)  # type: ignore[arg-type]


def _one_of(part: Any, name: str, index: int) -> float | None:
    values = getattr(part, name, None) or []
    return number(values[min(index, len(values) - 1)]) if values else None


def _texts(part: Any, names: dict[str, str]) -> dict[str, str]:
    """Attributes of a part as text, by DICOM keyword; dates without hyphens, times without colons."""
    found = {}
    for keyword, name in names.items():
        value = getattr(part, name, None)
        if value is None or str(value) == "":
            continue
        text = str(getattr(value, "value", value))
        if keyword.endswith("Date"):
            text = text.replace("-", "")[:8]
        elif keyword.endswith("Time"):
            text = text.replace(":", "")
        found[keyword] = text
    return found
