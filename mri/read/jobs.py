"""What there is to do in files and folders: one job per raw file and per DICOM series, each readable by itself."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewstep.core.errors import UsageError
from fewstep.mri.read.check import sha256
from fewstep.mri.read.dicom import members, read_header
from fewstep.mri.read.magnitude import REFUSAL, Options, digest_of, series_info, to_scan
from fewstep.mri.read.nifti import read_nifti
from fewstep.mri.read.series import read_series
from fewstep.mri.scan import MODES, Scan

RAW = ("hdf5", "twix", "npy", "cfl")
"""Kinds that hold k-space."""


@dataclass(frozen=True)
class Job:
    """One raw file or DICOM series.

    Parameters
    ----------
    name
        For people: a file's name, or a series' description and number.
    kind
        "hdf5", "twix", "npy", "cfl", "nifti", "dicom", or "unknown".
    files
        Paths, or (name, bytes) from an archive.
    study
        Hash of its study, for one worker at a time; that of the file if there is none.
    error
        Why it cannot be read, or "".
    """

    name: str
    kind: str
    files: tuple[Any, ...] = field(repr=False)
    study: str = ""
    error: str = ""

    def digest(self) -> str:
        """Of the content of all files, hex."""
        total = hashlib.sha256()
        for file in self.files:
            own = hashlib.sha256(file[1]).hexdigest() if isinstance(file, tuple) else sha256(file)
            total.update(own.encode())
        return total.hexdigest()

    def read(self, options: Options, *, spacing: tuple[float, float, float] | None = None) -> list[Scan]:
        """The scans of this job.

        Parameters
        ----------
        options
            Mode and more.
        spacing
            For files that do not say.

        Returns
        -------
        list of Scan

        Raises
        ------
        UsageError
            If it cannot be read, or the mode is not for files of this kind.
        """
        if self.error:
            raise UsageError(self.error)
        if options.mode not in MODES:
            raise UsageError(f"expected a mode among {', '.join(MODES)}, got {options.mode!r}")
        if self.kind in RAW:
            if options.mode != "raw":
                raise UsageError(
                    f"{self.name}: holds k-space, and mode {options.mode} is for magnitude pictures: say --mode raw"
                )
            return _read_raw(self.kind, self.files[0], spacing)
        if options.mode == "raw":
            raise UsageError(f"{self.name}: {REFUSAL}")
        if self.kind == "nifti":
            series, info = read_nifti(self.files[0])
            return [to_scan(series, info, options)]
        stacks = read_series(((_name(f), _source(f)) for f in self.files), self.name)
        return [to_scan(stack, series_info(stack, self.name, digest_of(stack)), options) for stack in stacks]


def find_jobs(paths: Sequence[Path]) -> list[Job]:
    """Everything that can be read under some paths, in a fixed order.

    Parameters
    ----------
    paths
        Files, archives, folders. In folders, files of other kinds are passed over.

    Returns
    -------
    list of Job
        A file named itself that is of no known kind is a job with an error.

    Raises
    ------
    UsageError
        If a path does not exist, or a folder holds nothing to read.
    """
    jobs: list[Job] = []
    for path in paths:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            found = _jobs_of([f for f in files if kind_of(f) != "unknown"])
            if not found:
                raise UsageError(f"{path}: this folder holds no raw data, NIfTI or DICOM")
            jobs += found
        elif path.exists():
            jobs += _jobs_of([path])
        else:
            raise UsageError(f"{path}: no such file or folder")
    return jobs


def kind_of(file: Path) -> str:
    """By its first bytes, and by its name where these say nothing."""
    with open(file, "rb") as stream:
        start = stream.read(352)
    suffixes = "".join(file.suffixes[-2:]).lower()
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start[128:132] == b"DICM":
        return "dicomdir" if file.name.upper() == "DICOMDIR" else "dicom"
    if start[344:348] in (b"n+1\0", b"n+2\0") or suffixes.endswith((".nii", ".nii.gz")):
        return "nifti"
    if start.startswith(b"PK\x03\x04") and suffixes.endswith(".zip"):
        return "zip"
    by_name = {".h5": "hdf5", ".hdf5": "hdf5", ".mrd": "hdf5", ".dat": "twix", ".npy": "npy", ".cfl": "cfl"}
    if file.suffix.lower() == ".hdr":
        return "cfl" if file.with_suffix(".cfl").is_file() else "unknown"
    return by_name.get(file.suffix.lower(), "dicom" if file.suffix.lower() in (".dcm", ".ima") else "unknown")


def _jobs_of(files: Iterable[Path]) -> list[Job]:
    jobs: list[Job] = []
    objects: list[Any] = []
    pairs = set()
    for file in files:
        kind = kind_of(file)
        if kind == "dicom":
            objects.append(file)
        elif kind == "zip":
            try:
                objects += [(name, stream.getvalue()) for name, stream in members(file)]
            except UsageError as error:
                jobs.append(Job(file.name, "dicom", (file,), error=str(error)))
        elif kind == "cfl":
            if file.with_suffix("") not in pairs:
                pairs.add(file.with_suffix(""))
                jobs.append(_single(file.name, kind, file.with_suffix(".cfl")))
        elif kind == "unknown":
            jobs.append(
                Job(
                    file.name,
                    kind,
                    (file,),
                    error=f"{file.name}: is no file that is read here (HDF5, twix .dat, .npy, .cfl, NIfTI, DICOM, zip)",
                )
            )
        elif kind != "dicomdir":
            jobs.append(_single(file.name, kind, file))
    return jobs + _series_of(objects)


def _single(name: str, kind: str, file: Path) -> Job:
    return Job(name, kind, (file,), study=hashlib.sha256(str(file.resolve()).encode()).hexdigest())


def _series_of(objects: list[Any]) -> list[Job]:
    """One job per series; an object that cannot be read is a job with an error."""
    groups: dict[str, list[Any]] = defaultdict(list)
    said: dict[str, tuple[str, str]] = {}
    broken: list[Job] = []
    for item in objects:
        name = _name(item)
        try:
            header = read_header(_source(item), name)
        except UsageError as error:
            broken.append(Job(name, "dicom", (item,), error=str(error)))
            continue
        key = f"{header.get('SeriesInstanceUID', name)} {header.get('SOPClassUID', '')}"
        groups[key].append(item)
        title = " ".join(
            str(header.get(word))
            for word in ("SeriesNumber", "SeriesDescription")
            if header.get(word) not in (None, "")
        )
        said.setdefault(key, (f"series {title}" if title else name, str(header.get("StudyInstanceUID", name))))
    jobs = []
    for key, items in groups.items():
        title, study = said[key]
        title = _name(items[0]) if len(items) == 1 else title
        jobs.append(Job(title, "dicom", tuple(items), study=hashlib.sha256(study.encode()).hexdigest()))
    return jobs + broken


def _read_raw(kind: str, file: Path, spacing: tuple[float, float, float] | None) -> list[Scan]:
    if kind == "npy":
        from fewstep.mri.read.arrays import read_npy

        return read_npy(file, spacing=spacing)
    if kind == "cfl":
        from fewstep.mri.read.arrays import read_cfl

        return read_cfl(file, spacing=spacing)
    if kind == "twix":
        from fewstep.mri.read.twix import read_twix

        return read_twix(file)
    return _read_hdf5(file)


def _read_hdf5(file: Path) -> list[Scan]:
    from fewstep.mri.read.check import open_hdf5
    from fewstep.mri.read.fastmri import read_fastmri
    from fewstep.mri.read.mrd import read_mrd

    with open_hdf5(file) as h5:
        is_fastmri = "kspace" in h5
    return read_fastmri(file) if is_fastmri else read_mrd(file)


def _name(item: Any) -> str:
    return item[0] if isinstance(item, tuple) else item.name


def _source(item: Any) -> Any:
    return io.BytesIO(item[1]) if isinstance(item, tuple) else item
