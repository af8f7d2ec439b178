"""NIfTI volumes as slices, in the patient's coordinates: NIfTI's x and y point the other way than DICOM's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import Geometry, vector
from fewstep.mri.read.check import sha256
from fewstep.mri.read.series import Series
from fewstep.mri.scan import ScanInfo


def read_nifti(file: Path) -> tuple[Series, ScanInfo]:
    """A NIfTI volume as slices.

    Parameters
    ----------
    file
        `.nii` or `.nii.gz`, three axes.

    Returns
    -------
    series : Series
        Slices along the third axis, columns along the first.
    info : ScanInfo

    Raises
    ------
    UsageError
        If it is damaged, has other than three axes, holds NaN, or its axes are not at right angles.
    """
    import nibabel

    try:
        image: Any = nibabel.load(file)
        data = np.asarray(image.dataobj)
    except Exception as error:  # nibabel raises several kinds, and zlib's own
        raise UsageError(f"{file.name}: cannot be read as NIfTI ({type(error).__name__}: {error})") from error
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3 or data.dtype.kind not in "uif":
        raise UsageError(f"{file.name}: expected one real volume [x, y, z], got {data.dtype} {list(data.shape)}")
    if not np.isfinite(data).all() or not np.abs(data).max() > 0:
        raise UsageError(f"{file.name}: holds NaN or infinity, or zeros only")
    to_patient = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    lengths = np.linalg.norm(to_patient[:3, :3], axis=0)
    if not (lengths > 0).all():
        raise UsageError(f"{file.name}: its affine is singular")
    row, column = to_patient[:3, 0] / lengths[0], to_patient[:3, 1] / lengths[1]
    middle = (np.array(data.shape[:2]) - 1) / 2
    middles = [vector((to_patient @ [*middle, k, 1.0])[:3]) for k in range(data.shape[2])]
    try:
        geometry = Geometry(vector(row), vector(column), tuple(middles), float(lengths[2]))
    except UsageError as error:
        raise UsageError(f"{file.name}: its axes are sheared: {error}") from error
    values = np.ascontiguousarray(data.astype(np.float32).transpose(2, 1, 0)).clip(0)
    spacing = (float(lengths[1]), float(lengths[0]), float(lengths[2]))
    return Series((), values, spacing, geometry, "", ()), ScanInfo(file.name, sha256(file), "nifti")
