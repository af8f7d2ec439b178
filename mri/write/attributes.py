"""Attributes of derived DICOM objects: what is inherited from the source, by a list; what of it is invalid, mended.

Values that break their value representation (PS3.5 6.2), options that are no defined terms (PS3.3 C.8.3.1), an
inversion time without inversion, a side of an unpaired part: dropped, or left empty where the attribute must be there.
"""

from __future__ import annotations

import re
import uuid
from copy import deepcopy
from typing import Any

_INHERITED = """
SpecificCharacterSet TimezoneOffsetFromUTC PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex
PatientAge PatientWeight
PatientSize OtherPatientIDs EthnicGroup PatientIdentityRemoved DeidentificationMethod
StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName StudyDescription
Laterality BodyPartExamined PatientPosition ProtocolName PerformedProcedureStepID
FrameOfReferenceUID PositionReferenceIndicator
Manufacturer InstitutionName InstitutionAddress StationName InstitutionalDepartmentName ManufacturerModelName
DeviceSerialNumber
AcquisitionNumber AcquisitionDate AcquisitionTime SliceThickness
ScanningSequence SequenceVariant ScanOptions MRAcquisitionType RepetitionTime EchoTime EchoTrainLength InversionTime
TriggerTime SequenceName AngioFlag NumberOfAverages ImagingFrequency ImagedNucleus EchoNumbers MagneticFieldStrength
NumberOfPhaseEncodingSteps PercentSampling PercentPhaseFieldOfView PixelBandwidth ReceiveCoilName TransmitCoilName
AcquisitionMatrix InPlanePhaseEncodingDirection FlipAngle SAR VariableFlipAngleFlag
LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod BurnedInAnnotation
QualityControlImage
"""
INHERITED = tuple(_INHERITED.split())

_ALWAYS = """
PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName
Manufacturer PositionReferenceIndicator SliceThickness MRAcquisitionType EchoTime EchoTrainLength ScanOptions
RepetitionTime PatientPosition
"""
ALWAYS = tuple(_ALWAYS.split())
"""Type 2: there even if empty."""

SCAN_OPTIONS = {"PER", "RG", "CG", "PPG", "FC", "PFF", "PFP", "SP", "FS", "CT"}
SEQUENCES = {"SE", "IR", "GR", "EP", "RM"}
VARIANTS = {"SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "TOF", "NONE"}
PAIRED = {
    "ANKLE", "ARM", "BREAST", "CALF", "CAROTID", "CLAVICLE", "EAR", "ELBOW", "EXTREMITY", "EYE", "FEMUR", "FINGER",
    "FOOT", "HAND", "HIP", "HUMERUS", "KIDNEY", "KNEE", "LEG", "LOWERLEG", "ORBIT", "SHOULDER", "THIGH", "THUMB",
    "TOE", "UPPERARM", "WRIST",
}  # fmt: skip
PATTERNS = {
    "DA": r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "TM": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "AS": r"\d{3}[DWMY]",
    "CS": r"[A-Z0-9 _]{0,16}",
    "UI": r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*",
}
LONGEST = {"DS": 16, "SH": 16, "LO": 64, "PN": 64, "ST": 1024, "LT": 10240, "UI": 64}
NAMESPACE = uuid.UUID("0b1d2a66-54d5-5b3c-9a0e-6f1f0c7f5a11")


def uid(*parts: object) -> str:
    """A UID that is always the same for the same parts: 2.25 and a name-based UUID (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '|'.join(map(str, parts))).int}"


def valid_uid(text: object) -> bool:
    """Whether a text is a UID."""
    return isinstance(text, str) and len(text) <= 64 and re.fullmatch(PATTERNS["UI"], text) is not None and "." in text


def inherit(target: Any, source: Any) -> None:
    """Copy what is on the list.

    Parameters
    ----------
    target, source
        pydicom data sets; the target is changed.
    """
    for keyword in INHERITED:
        if keyword in source:
            target.add(deepcopy(source[keyword]))


def sanitise(dataset: Any) -> None:
    """Drop or empty what is invalid, and add what must be there.

    Parameters
    ----------
    dataset
        A pydicom data set, changed.
    """
    from pydicom.valuerep import format_number_as_ds

    for element in list(dataset):
        if element.VR == "SQ" or element.keyword == "":
            continue
        values = element.value if element.VM > 1 else [element.value]
        if all(_fits(value, element.VR) for value in values):
            continue
        if element.VR == "DS":
            element.value = [format_number_as_ds(float(value)) for value in values]
            continue
        cut = LONGEST.get(element.VR)
        if element.VM == 1 and cut and element.VR in ("SH", "LO", "ST", "LT"):
            element.value = str(element.value)[:cut].strip()
        elif element.keyword in ALWAYS:
            element.value = None
        else:
            del dataset[element.tag]
    for keyword, terms in (
        ("ScanningSequence", SEQUENCES),
        ("SequenceVariant", VARIANTS),
        ("ScanOptions", SCAN_OPTIONS),
    ):
        if keyword in dataset:
            setattr(dataset, keyword, [term for term in _list(dataset[keyword].value) if term in terms] or None)
    if not dataset.get("ScanningSequence"):
        dataset.ScanningSequence = "RM"
    if not dataset.get("SequenceVariant"):
        dataset.SequenceVariant = "NONE"
    if "IR" not in _list(dataset.ScanningSequence) and "InversionTime" in dataset:
        del dataset.InversionTime
    if str(dataset.get("MRAcquisitionType", "")) not in ("2D", "3D", ""):
        dataset.MRAcquisitionType = ""
    for keyword in ALWAYS:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    _side(dataset)


def _side(dataset: Any) -> None:
    """Laterality: with its value for paired parts, empty where the part is unknown, absent for others."""
    part, side = str(dataset.get("BodyPartExamined") or ""), dataset.get("Laterality")
    if not part:
        dataset.Laterality = side if side in ("L", "R") else None
        if "BodyPartExamined" in dataset:
            del dataset.BodyPartExamined
    elif part in PAIRED:
        dataset.Laterality = side if side in ("L", "R") else None
    elif "Laterality" in dataset:
        del dataset.Laterality


def _fits(value: Any, vr: str) -> bool:
    if value is None or str(value) == "":
        return True
    text = str(value)
    if vr in PATTERNS and re.fullmatch(PATTERNS[vr], text) is None:
        return False
    return len(text) <= LONGEST.get(vr, 10**9)


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(v) for v in value]
