"""Files of scanners as scans, told apart by their content: HDF5 (fastMRI, ISMRMRD), twix, arrays, NIfTI, DICOM."""

from __future__ import annotations

from pathlib import Path

from fewstep.mri.read.jobs import Job, find_jobs
from fewstep.mri.read.magnitude import Options
from fewstep.mri.scan import Scan

__all__ = ["Job", "Options", "find_jobs", "read_scans"]


def read_scans(
    path: str | Path,
    *,
    mode: str = "raw",
    spacing: tuple[float, float, float] | None = None,
    options: Options | None = None,
) -> list[Scan]:
    """All scans in a file, a zip archive or a folder.

    Parameters
    ----------
    path
        fastMRI or ISMRMRD HDF5, Siemens `.dat`, `.npy`, `.cfl`, NIfTI, DICOM, or a folder or archive of these.
    mode
        "raw" for k-space; "restore" or "qa" for magnitude pictures (NIfTI and DICOM).
    spacing
        mm between rows, columns and slices, for `.npy` and `.cfl`, which do not say.
    options
        More about `restore` and `qa`; its mode is the one that counts.

    Returns
    -------
    list of Scan

    Raises
    ------
    UsageError
        Naming the first file that cannot be read, or has the wrong mode, and why.
    """
    options = options or Options(mode)
    return [scan for job in find_jobs([Path(path)]) for scan in job.read(options, spacing=spacing)]
