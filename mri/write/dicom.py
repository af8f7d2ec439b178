"""A DICOM MR series of what was reconstructed: a new series of the same study, one MR Image object a slice.

PS3.3 A.4 (MR Image IOD), C.7.6.1 (derivation), C.12.1 (contributing equipment). UIDs are made of the job's key, so that
a job done twice writes the same objects. Nothing of a source is changed; codes are only those that are true.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.mri.write.attributes import inherit, sanitise, uid, valid_uid
from fewstep.mri.write.derivation import add_derivation, add_equipment
from fewstep.mri.write.product import Product

BRIGHTEST = 30000
"""Stored value of the largest pixel of raw scans, which have no unit of their own."""


def write_dicom(folder: Path, made: Product, *, key: str, what: str = "image", number: int = 1) -> dict[str, Any]:
    """Write one series.

    Parameters
    ----------
    folder
        Gets `0001.dcm`, ... in order of place.
    made
        Pictures and all about them.
    key
        Of the job: source, options, seed; equal keys give equal UIDs.
    what
        "image", or "std" for the standard deviation of the samples.
    number
        Of this series among those of the source: 1, 2, ...

    Returns
    -------
    dict
        files, series, study, clipped (pixels), scale (stored value per unit).

    Raises
    ------
    UsageError
        If there is no such picture, it is not finite, or the source says that names are burned into its pixels.
    """
    values = made.magnitude if what == "image" else made.std
    if values is None:
        raise UsageError("there is no standard deviation of one sample: take --samples 2 or more")
    if not np.isfinite(values).all():
        raise UsageError("refusing to write pictures that hold NaN or infinity")
    if any(str(header.get("BurnedInAnnotation", "")) == "YES" for header in made.headers):
        raise UsageError(
            f"{made.info.file}: its header says that text is burned into its pixels, which would be taken for anatomy"
        )
    slope, intercept, keep = _scale(made)
    stored = np.rint((values.astype(np.float64) - intercept) / slope)
    clipped = int(((stored < 0) | (stored > 65535)).sum())
    pixels = stored.clip(0, 65535).astype(np.uint16)
    window = np.percentile(values, (1, 99.5))
    now = _now(made)
    files = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values in the source that are mended here
        for i, picture in enumerate(pixels):
            dataset = _dataset(made, i, key, what, number, now)
            _pixel_module(dataset, picture, (slope, intercept) if keep else None)
            dataset.WindowCenter = _ds(window.mean() if keep else (window.mean() - intercept) / slope)
            dataset.WindowWidth = _ds(max(1.0, float(window[1] - window[0]) / (1.0 if keep else slope)))
            sanitise(dataset)
            file = folder / f"{i + 1:04d}.dcm"
            with replacing(file) as temporary:
                dataset.save_as(temporary, enforce_file_format=True)
            files.append(file)
    return {
        "files": files,
        "series": str(dataset.SeriesInstanceUID),
        "study": str(dataset.StudyInstanceUID),
        "clipped": clipped,
        "scale": 1 / slope,
    }


def _now(made: Product) -> datetime:
    """In the time zone of the source if it names one, as its inherited times are, else in that of this machine."""
    offset = str(made.headers[0].get("TimezoneOffsetFromUTC") or "") if made.headers else ""
    try:
        return datetime.now(datetime.strptime(offset, "%z").tzinfo)
    except ValueError:
        return datetime.now().astimezone()


def _dataset(made: Product, i: int, key: str, what: str, number: int, now: datetime) -> Any:
    import pydicom

    dataset = pydicom.Dataset()
    header = made.headers[i] if made.headers else None
    if header is not None:
        inherit(dataset, header)
    else:
        _from_raw(dataset, made)
    version = metadata.version("fewstep")
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = pydicom.uid.UID(uid("implementation"))
    dataset.file_meta.ImplementationVersionName = f"FEWSTEP {version}"[:16]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    instance = pydicom.uid.UID(uid(key, what, number, i))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.SeriesInstanceUID = uid(key, what, number)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not valid_uid(str(dataset.get(keyword, ""))):
            setattr(dataset, keyword, uid(made.info.sha256, keyword))
    dataset.Modality = "MR"
    kind = "M" if what == "image" else "STD_DEV"
    dataset.ImageType = ["DERIVED", "PRIMARY" if made.mode == "raw" and what == "image" else "SECONDARY", "OTHER", kind]
    dataset.BurnedInAnnotation = "NO"
    day, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    for prefix in ("Series", "Content", "InstanceCreation"):
        setattr(dataset, f"{prefix}Date", day)
        setattr(dataset, f"{prefix}Time", time)
    source = _integer(header.get("SeriesNumber") if header is not None else made.info.study.get("SeriesNumber"))
    dataset.SeriesNumber = source * 100 + number if 0 < source < 10**6 else 9000 + number
    dataset.SeriesDescription = _title(made, header, what)
    dataset.InstanceNumber = i + 1
    if made.mode == "qa":
        dataset.ImageComments = dataset.SeriesDescription
    _place(dataset, made, i, header)
    add_derivation(dataset, made, i, what)
    add_equipment(dataset, version, now)
    return dataset


def _from_raw(dataset: Any, made: Product) -> None:
    """What a raw file says."""
    info = made.info
    said = {**info.patient, **info.study}
    for keyword, text in said.items():
        if keyword not in ("SeriesNumber", "SeriesDescription"):
            setattr(dataset, keyword, text)
    if not "".join(said.values()).isascii():
        dataset.SpecificCharacterSet = "ISO_IR 192"
    if str(dataset.get("PatientSex", "")) not in ("M", "F", "O"):
        dataset.PatientSex = None
    if str(dataset.get("PatientPosition", "")) not in ("HFS", "HFP", "FFS", "FFP", "HFDR", "HFDL", "FFDR", "FFDL"):
        dataset.PatientPosition = None
    dataset.ProtocolName = info.protocol
    dataset.ScanningSequence = ["RM", "IR"] if info.inversion_time else "RM"
    dataset.SequenceVariant = "NONE"
    volume = bool(info.encoded and info.encoded[2] > 1)
    dataset.MRAcquisitionType = "3D" if volume else "2D"
    for keyword, value in (
        ("EchoTime", info.echo_time),
        ("RepetitionTime", info.repetition_time),
        ("InversionTime", info.inversion_time),
        ("FlipAngle", info.flip_angle),
        ("MagneticFieldStrength", info.field_strength),
    ):
        if value is not None:
            setattr(dataset, keyword, _ds(value))


def _place(dataset: Any, made: Product, i: int, header: Any) -> None:
    g, size = made.geometry, made.size
    same = header is not None and (int(header.Rows), int(header.Columns)) == size
    if same:
        dataset.ImagePositionPatient = header.ImagePositionPatient
        dataset.ImageOrientationPatient = header.ImageOrientationPatient
        dataset.PixelSpacing = header.PixelSpacing
    else:
        dataset.ImagePositionPatient = [_ds(v) for v in g.first_pixel(i, size, made.spacing)]
        dataset.ImageOrientationPatient = [_ds(v) for v in (*g.row_direction, *g.column_direction)]
        dataset.PixelSpacing = [_ds(v) for v in made.spacing[:2]]
    dataset.SliceThickness = _ds(g.thickness or made.spacing[2])
    if len(g.middles) > 1:
        dataset.SpacingBetweenSlices = _ds(made.spacing[2])
        dataset.SliceLocation = _ds(float(np.dot(g.middles[i], g.normal)))


def _pixel_module(dataset: Any, picture: np.ndarray, rescale: tuple[float, float] | None) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = picture.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    if rescale is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = (_ds(v) for v in rescale)
        dataset.RescaleType = "US"
    dataset.PixelData = np.ascontiguousarray(picture, "<u2").tobytes()


def _scale(made: Product) -> tuple[float, float, bool]:
    """Units per stored value, offset, and whether a header says so; one for the whole series."""
    slopes = [float(h.RescaleSlope) for h in made.headers if h.get("RescaleSlope") not in (None, "")]
    if slopes and max(slopes) > 0:
        offsets = [float(h.get("RescaleIntercept") or 0) for h in made.headers]
        if (max(slopes), min(offsets)) != (1.0, 0.0):
            return float(_ds(max(slopes))), float(_ds(min(offsets))), True
    if made.headers:
        return 1.0, 0.0, False
    peak = float(np.abs(made.image).max())
    return (peak / BRIGHTEST if peak > 0 else 1.0), 0.0, False


def _title(made: Product, header: Any, what: str) -> str:
    """SeriesDescription, at most 64 characters."""
    source = str(header.get("SeriesDescription") or "") if header is not None else made.name
    method = str(made.report.get("method", "")).upper()
    tail = f" [fewstep {method}{made.report.get('nfe') or ''}{' std' if what == 'std' else ''}]"
    start = "QA SIM " if made.mode == "qa" else ""
    return (start + source)[: 64 - len(tail)].strip() + tail if source else (start + tail.strip())


def _ds(value: float) -> str:
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value))


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
