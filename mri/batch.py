"""Jobs of `fewstep recon`: read, reconstruct slice by slice, write, remember; a job that is done is not done again.

The key of a job is the hash of its source's content and of all options that change the result. Each slice is kept in
`.jobs/KEY/` until the manifest `.jobs/KEY.json` is written, last of all: a job that was stopped goes on with the slices
that it lacks, into the same files with the same UIDs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fewstep.mri.read import Job, Options
from fewstep.mri.scan import Scan
from fewstep.mri.slices import reconstruct

FORMATS = ("dicom", "nifti", "png", "npz")
SCHEMA = 1

Tick = Callable[[int, int], None]
"""Called with slices done and slices in all."""


@dataclass(frozen=True)
class Settings:
    """What to make of every job.

    Parameters
    ----------
    out
        Folder of results.
    method, model, method_options
        As `Reconstructor.load` takes them.
    reading
        How magnitude pictures become scans, and the mode.
    spacing
        mm, for files that do not say.
    seed
        Of the samples.
    formats
        Some of `FORMATS`.
    report
        Write `report.html` too.
    compare
        Compute CG-SENSE and L1-wavelet too.
    device
        Of the net.
    virtual_coils
        As `Reconstructor.load` takes it.
    """

    out: Path
    reading: Options
    method: str = "dds"
    model: str | None = None
    method_options: Mapping[str, Any] | None = None
    spacing: tuple[float, float, float] | None = None
    seed: int = 0
    formats: tuple[str, ...] = FORMATS
    report: bool = True
    compare: bool = True
    device: str = "cpu"
    virtual_coils: int | None = None

    def key(self, job: Job, model: Mapping[str, str]) -> str:
        """Of a job under these settings with a model of this name and hash, hex."""
        told = asdict(self) | {"model": dict(model)}
        del told["out"], told["device"]
        text = json.dumps([SCHEMA, job.digest(), told, metadata.version("fewstep")], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def manifest_of(settings: Settings, key: str) -> Path:
    """Where a job's manifest is."""
    return settings.out / ".jobs" / f"{key}.json"


def done(settings: Settings, key: str) -> dict[str, Any] | None:
    """The manifest of a job that is done and whose files are all there, else None."""
    file = manifest_of(settings, key)
    try:
        manifest = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    there = all((settings.out / name).is_file() for name in manifest.get("files", []))
    return manifest if manifest.get("schema") == SCHEMA and manifest.get("files") and there else None


def run(job: Job, settings: Settings, reconstructor: Any, key: str, tick: Tick | None = None) -> dict[str, Any]:
    """Do one job.

    Parameters
    ----------
    job
        What to read.
    settings
        What to do.
    reconstructor
        A `Reconstructor`, or anything called like one.
    key
        From `Settings.key`.
    tick
        Progress.

    Returns
    -------
    dict
        The manifest, as written.

    Raises
    ------
    UsageError, OSError
        If it cannot be read, reconstructed or written; nothing is remembered then.
    """
    from fewstep.mri.write import write_json

    scans = job.read(settings.reading, spacing=settings.spacing)
    total, before = sum(scan.slices for scan in scans), 0
    files: list[str] = []
    reports = []
    begun = time.perf_counter()
    for number, scan in enumerate(scans):

        def inner(n: int, before: int = before) -> None:
            if tick is not None:
                tick(before + n, total)

        report, written = _scan(scan, settings, reconstructor, key, number, len(scans), inner)
        reports.append(report)
        files += written
        before += scan.slices
    manifest = {
        "schema": SCHEMA,
        "status": "done",
        "job": job.name,
        "key": key,
        "source": {"kind": job.kind, "files": len(job.files), "sha256": job.digest()},
        "version": metadata.version("fewstep"),
        "seconds": round(time.perf_counter() - begun, 3),
        "scans": reports,
        "files": files,
    }
    write_json(manifest_of(settings, key), manifest)
    shutil.rmtree(settings.out / ".jobs" / key, ignore_errors=True)
    return manifest


def _scan(
    scan: Scan, settings: Settings, reconstructor: Any, key: str, number: int, count: int, tick: Callable[[int], None]
) -> tuple[dict[str, Any], list[str]]:
    """Reconstruct and write one scan; its report, and its files relative to the output folder."""
    from fewstep.mri.write.files import safe_name, write_json

    kept = settings.out / ".jobs" / key / f"{number:03d}"
    made = reconstruct(scan, reconstructor, seed=settings.seed, tick=tick, kept=kept)
    stem = safe_name(f"{Path(scan.info.file).stem} {scan.label}" if scan.label else Path(scan.info.file).stem)
    folder = settings.out / f"{stem}-{key[:8]}"
    offset = 10 * number if count > 1 else 0
    files, extra = write_all(
        made, folder, key=f"{key} {number}", formats=settings.formats, report=settings.report, offset=offset
    )
    report = {**made.report, **extra}
    write_json(folder / "report.json", report)
    files.append(folder / "report.json")
    return report, [file.relative_to(settings.out).as_posix() for file in files]


def write_all(
    made: Any,
    folder: Path,
    *,
    key: str,
    formats: Sequence[str] = FORMATS,
    report: bool = True,
    offset: int = 0,
) -> tuple[list[Path], dict[str, Any]]:
    """All files of a product but `report.json`.

    Parameters
    ----------
    made
        A `Product`.
    folder
        Where.
    key
        That UIDs are made of.
    formats
        Some of `FORMATS`.
    report
        Write `report.html`.
    offset
        Added to the numbers of the DICOM series.

    Returns
    -------
    files : list of Path
    extra : dict
        What writing them tells: UIDs, scale, clipped pixels.

    Raises
    ------
    UsageError
        If something cannot be written as DICOM.
    """
    from fewstep.mri import write

    files: list[Path] = []
    extra: dict[str, Any] = {}
    volumes = {"image": made.magnitude} | ({} if made.std is None else {"std": made.std})
    if "dicom" in formats:
        extra["dicom"] = {}
        for number, what in enumerate(volumes, start=1):
            told = write.write_dicom(folder / f"dicom-{what}", made, key=key, what=what, number=offset + number)
            files += told.pop("files")
            extra["dicom"][what] = told
            if told["clipped"]:
                made.report["warnings"].append(f"{told['clipped']} pixels of the {what} series were clipped")
    for name, values in volumes.items():
        if "nifti" in formats:
            files.append(folder / f"{name}.nii.gz")
            write.write_nifti(files[-1], made, values)
        if "png" in formats:
            files.append(folder / f"{name}.png")
            write.write_sheet(files[-1], values)
    if "npz" in formats:
        files.append(folder / "image.npz")
        write.write_npz(files[-1], made)
    if report:
        files.append(folder / "report.html")
        write.write_report(files[-1], made)
    return files, extra
