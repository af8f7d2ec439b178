"""DICOM objects as frames: classic slices one by one, enhanced multi-frame objects taken apart; anything else refused.

An enhanced object keeps what is common to its frames in shared functional groups and the rest in one group per frame
(PS3.3 C.7.6.16); both are laid flat into one header per frame, as a classic object would have it.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
MOST_SAMPLES = 2**30
"""Of one object, and bytes of one member of an archive."""
MOST_MEMBERS = 20000


class NotForUs(UsageError):
    """An object that is whole, but no MR picture to work on: in a folder it is passed over."""


FLAT = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRTimingAndRelatedParametersSequence": ("RepetitionTime", "FlipAngle", "EchoTrainLength"),
    "MRFOVGeometrySequence": (
        "InPlanePhaseEncodingDirection",
        "MRAcquisitionFrequencyEncodingSteps",
        "MRAcquisitionPhaseEncodingStepsInPlane",
        "PercentSampling",
        "PercentPhaseFieldOfView",
    ),
    "FrameContentSequence": ("StackID", "InStackPositionNumber", "TemporalPositionIndex", "FrameAcquisitionNumber"),
    "MRImageFrameTypeSequence": ("FrameType",),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
    "FrameAnatomySequence": ("FrameLaterality",),
    "MRAveragesSequence": ("NumberOfAverages",),
}
"""Functional groups and what is taken from them."""


@dataclass(frozen=True)
class Frame:
    """One picture.

    Parameters
    ----------
    header
        Data set as of a classic object, without pixels; file_meta kept.
    pixels
        Stored values, [rows, columns].
    """

    header: Any
    pixels: np.ndarray


def members(file: Path) -> Iterator[tuple[str, io.BytesIO]]:
    """DICOM files of a zip archive, in memory; their names are for messages only.

    Raises
    ------
    UsageError
        If it is damaged, encrypted, or unpacks to too much.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            listed = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(listed) > MOST_MEMBERS or sum(entry.file_size for entry in listed) > 16 * MOST_SAMPLES:
                raise UsageError(f"{file.name}: unpacks to more than is sensible ({len(listed)} files)")
            for entry in listed:
                if entry.file_size > MOST_SAMPLES:
                    raise UsageError(f"{file.name}: one of its files unpacks to {entry.file_size} bytes")
                data = archive.read(entry)
                if data[128:132] == b"DICM":
                    yield f"{file.name}/{Path(entry.filename).name}", io.BytesIO(data)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise UsageError(f"{file.name}: cannot be unpacked ({error})") from error


def read_header(source: Any, name: str) -> Any:
    """A data set without its pixels.

    Raises
    ------
    UsageError
        If it is no DICOM object, or is cut off.
    """
    return _read(source, name, pixels=False)


def frames(source: Any, name: str) -> list[Frame]:
    """The pictures of one DICOM object.

    Parameters
    ----------
    source
        A path, or a binary stream.
    name
        For messages.

    Returns
    -------
    list of Frame

    Raises
    ------
    UsageError
        If it is no MR picture (`NotForUs`), or its pixels cannot be decoded.
    """
    dataset = _read(source, name, pixels=True)
    refuse(dataset, name)
    pixels = _pixels(dataset, name)
    enhanced = str(dataset.SOPClassUID) == ENHANCED_MR
    count = int(dataset.get("NumberOfFrames") or 1)
    pixels = pixels.reshape(count, int(dataset.Rows), int(dataset.Columns))
    del dataset.PixelData
    if not enhanced:
        if count > 1:
            raise UsageError(f"{name}: is a classic MR object with {count} frames, expected one")
        return [Frame(dataset, pixels[0])]
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != count:
        raise UsageError(f"{name}: has {count} frames and functional groups for {len(groups)}: it is damaged")
    return [Frame(flat(dataset, group, i + 1), pixels[i]) for i, group in enumerate(groups)]


def refuse(dataset: Any, name: str) -> None:
    """Refuse what is no single MR picture or volume.

    Raises
    ------
    NotForUs
        With the reason.
    """
    sop, modality = str(dataset.get("SOPClassUID", "")), str(dataset.get("Modality", ""))
    kind = [str(value).upper() for value in dataset.get("ImageType") or []]
    if sop not in (MR, ENHANCED_MR):
        from pydicom.uid import UID

        what = UID(sop).name if sop else "nothing known"
        hint = ": vendors' raw data inside DICOM cannot be read, export the raw file" if "Raw Data" in what else ""
        raise NotForUs(f"{name}: is {what} ({modality or 'no modality'}), expected an MR image{hint}")
    if "Rows" not in dataset or "Columns" not in dataset or "PixelData" not in dataset:
        raise UsageError(f"{name}: holds no picture")
    if "MOSAIC" in kind or "VFRAME" in kind:
        raise NotForUs(f"{name}: is a mosaic of many slices in one picture: export the slices one by one")
    if "LOCALIZER" in kind:
        raise NotForUs(f"{name}: is a localizer, which is not reconstructed")
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or str(dataset.get("PhotometricInterpretation")) != "MONOCHROME2":
        raise NotForUs(f"{name}: is {dataset.get('PhotometricInterpretation')}, expected grey values as MONOCHROME2")
    if set(kind[2:]) & {"P", "R", "I", "PHASE", "REAL", "IMAGINARY", "PHASE MAP", "VELOCITY"}:
        raise NotForUs(f"{name}: is a phase, real or imaginary picture, expected magnitude")


def flat(dataset: Any, group: Any, number: int) -> Any:
    """A classic header for one frame of an enhanced object; `ReferencedFrameNumber` is its number, from 1."""
    import pydicom

    header = pydicom.Dataset()
    skipped = {"PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "DimensionIndexSequence"}
    for element in dataset:
        if element.keyword not in skipped and not element.tag.is_private and element.tag.group != 0x7FE0:
            header.add(element)
    header.file_meta = dataset.file_meta
    header.ReferencedFrameNumber = number
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    for part in (shared, group):
        for sequence, keywords in FLAT.items():
            for item in (part.get(sequence) or [])[:1]:
                for keyword in keywords:
                    if keyword in item:
                        header.add(item[keyword])
    if "EffectiveEchoTime" in header:
        header.EchoTime = header.EffectiveEchoTime
    if "FrameType" in header:
        header.ImageType = header.FrameType
    steps = [header.get("MRAcquisitionFrequencyEncodingSteps"), header.get("MRAcquisitionPhaseEncodingStepsInPlane")]
    if all(steps):
        along_row = str(header.get("InPlanePhaseEncodingDirection", "ROW")).startswith("ROW")
        header.InPlanePhaseEncodingDirection = "ROW" if along_row else "COL"
        header.AcquisitionMatrix = (
            [int(steps[0]), 0, 0, int(steps[1])] if along_row else [0, int(steps[0]), int(steps[1]), 0]
        )
    return header


def _read(source: Any, name: str, *, pixels: bool) -> Any:
    import pydicom

    try:
        with _quiet_pydicom():
            try:
                dataset = pydicom.dcmread(source, stop_before_pixels=not pixels)
            except pydicom.errors.InvalidDicomError:  # old files have no preamble
                dataset = _without_preamble(source, pixels)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{name}: cannot be read as DICOM ({error})") from error
    if len(dataset) == 0 or "TransferSyntaxUID" not in dataset.file_meta:
        raise UsageError(f"{name}: is a DICOM file without a data set or transfer syntax")
    return dataset


def _without_preamble(source: Any, pixels: bool) -> Any:
    import pydicom

    if hasattr(source, "seek"):
        source.seek(0)
    dataset = pydicom.dcmread(source, stop_before_pixels=not pixels, force=True)
    if "SOPClassUID" not in dataset or "SOPInstanceUID" not in dataset:
        raise pydicom.errors.InvalidDicomError("it has neither DICOM's preamble nor its attributes")
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return dataset


def _pixels(dataset: Any, name: str) -> np.ndarray:
    samples = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    if samples > MOST_SAMPLES:
        raise UsageError(f"{name}: holds {samples} pixels, more than can be worked on at once")
    try:
        with _quiet_pydicom():
            pixels = np.asarray(dataset.pixel_array)
    except Exception as error:  # the decoders raise whatever they like
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{name}: its pixels ({dataset.file_meta.TransferSyntaxUID.name}) cannot be decoded: the file is truncated "
            f"or damaged, or needs a decoder that is not installed ({reason})"
        ) from error
    if pixels.size != samples:
        raise UsageError(f"{name}: holds {pixels.size} pixels, its header says {samples}: it is truncated")
    return pixels


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
