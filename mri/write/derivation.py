"""How a derived DICOM object says what it was made of, how, and by what; only codes that are true."""

from __future__ import annotations

from datetime import datetime
from importlib import metadata
from typing import Any

from fewstep.mri.write.product import Product


def add_derivation(dataset: Any, made: Product, i: int, what: str) -> None:
    """What a picture was made of and how: PS3.3 C.7.6.1.

    Parameters
    ----------
    dataset
        Changed.
    made
        Pictures and report.
    i
        The slice.
    what
        "image" or "std".
    """
    import pydicom

    dataset.DerivationDescription = derivation(made, what)
    if not made.headers:
        return
    header = made.headers[i]
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if "ReferencedFrameNumber" in header:
        item.ReferencedFrameNumber = header.ReferencedFrameNumber
    item.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
    dataset.SourceImageSequence = [item]


def derivation(made: Product, what: str = "image") -> str:
    """One paragraph: program, mode, method, network calls, samples, seed, model and its hash, source.

    Parameters
    ----------
    made
        Pictures and report.
    what
        "image" or "std".

    Returns
    -------
    str
        At most 1024 characters.
    """
    report, model = made.report, made.report.get("model") or {}
    told = [
        f"fewstep {metadata.version('fewstep')}, mode {made.mode}, method {report.get('method')}",
        f"{report.get('nfe')} network calls a sample, {report.get('samples', 1)} samples, seed {report.get('seed')}",
    ]
    if model:
        told.append(f"model {model.get('name')} sha256 {model.get('sha256') or 'unknown'}")
    if report.get("acceleration"):
        told.append(f"acceleration {float(report['acceleration']):.3g}")
    told.append(f"source {made.info.kind} sha256 {made.info.sha256}")
    text = "; ".join(told)
    if what == "std":
        text = "Standard deviation of the samples, in the unit of the image series; " + text
    if made.mode == "restore":
        text += (
            "; the acquired band of k-space is kept, only what was not acquired is estimated by a learned prior, "
            "and may show what is not there"
        )
    if made.mode == "qa":
        text = "Retrospective simulation, not for diagnosis: a magnitude image was undersampled afterwards; " + text
    return text[:1024]


def add_equipment(dataset: Any, version: str, now: datetime) -> None:
    """This program, as equipment that contributed: PS3.3 C.12.1.

    Parameters
    ----------
    dataset
        Changed.
    version
        Of this program.
    now
        With its time zone.
    """
    import pydicom

    item = pydicom.Dataset()
    item.Manufacturer = "fewstep"
    item.ManufacturerModelName = "fewstep recon"
    item.SoftwareVersions = version
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S%z")
    item.ContributionDescription = "Reconstruction of MR images"
    item.PurposeOfReferenceCodeSequence = [_code("109102", "Processing Equipment")]
    dataset.ContributingEquipmentSequence = [item]


def _code(value: str, meaning: str) -> Any:
    import pydicom

    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
