"""k-space as plain arrays: `.npy`, and BART's `.cfl` with `.hdr`. They say nothing of the patient or of millimetres."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import unknown
from fewstep.mri.read.check import checked, sampled, sha256
from fewstep.mri.read.lines import partitions_to_slices
from fewstep.mri.scan import Scan, ScanInfo


def read_npy(file: Path, *, spacing: tuple[float, float, float] | None) -> list[Scan]:
    """k-space from a `.npy` file.

    Parameters
    ----------
    file
        complex [y, x], [coil, y, x] or [slice, coil, y, x].
    spacing
        mm between rows, columns and slices; None is 1 mm, with a warning.

    Returns
    -------
    list of Scan
        One.

    Raises
    ------
    UsageError
        If the file is damaged, holds Python objects, or is no complex array of these shapes.
    """
    try:
        data = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"{file.name}: cannot be read as .npy ({error})") from error
    if not isinstance(data, np.ndarray) or data.dtype.kind != "c" or data.ndim not in (2, 3, 4):
        got = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UsageError(
            f"{file.name}: expected complex k-space [coil, y, x] or [slice, coil, y, x], got {got}"
            + (": magnitude pictures are read from DICOM or NIfTI" if "float" in got or "int" in got else "")
        )
    kspace = torch.from_numpy(np.array(data, np.complex64, order="C", copy=True))
    return [_scan(file, "npy", kspace[(None,) * (4 - kspace.ndim)], spacing)]


def read_cfl(file: Path, *, spacing: tuple[float, float, float] | None) -> list[Scan]:
    """k-space from BART's pair of files.

    Parameters
    ----------
    file
        `.cfl` or `.hdr`; dimensions (readout, phase, partition, coil, 1, ..., slice at 13).
    spacing
        As for `read_npy`.

    Returns
    -------
    list of Scan
        One.

    Raises
    ------
    UsageError
        If one of the two files is missing, they contradict each other, or there are dimensions other than these.
    """
    header, data = file.with_suffix(".hdr"), file.with_suffix(".cfl")
    for one in (header, data):
        if not one.is_file():
            raise UsageError(f"{file.name}: needs {header.name} and {data.name} in one folder, {one.name} is missing")
    dims = _dimensions(header)
    size = int(np.prod(dims))
    if data.stat().st_size != 8 * size:
        raise UsageError(
            f"{data.name}: holds {data.stat().st_size // 8} samples, its header says {dims}: "
            f"it is truncated, or not its own"
        )
    extra = [(i, n) for i, n in enumerate(dims) if n > 1 and i not in (0, 1, 2, 3, 13)]
    if extra:
        raise UsageError(
            f"{file.name}: has dimensions besides readout, phase, partition, coil and slice: {extra}: "
            f"write a file of each"
        )
    values = np.fromfile(data, np.complex64).reshape(dims, order="F")
    values = values.reshape(*dims[:4], dims[13], order="F").transpose(4, 2, 3, 0, 1)  # slice, partition, coil, y, x
    kspace = torch.from_numpy(np.ascontiguousarray(values))
    if kspace.shape[1] == 1:
        return [_scan(data, "cfl", kspace[:, 0], spacing)]
    mask = (kspace != 0).any(2)
    kspace, _, notes = partitions_to_slices(kspace, mask, file.name)
    return [_scan(data, "cfl", kspace, spacing).warn(*notes)]


def _scan(file: Path, kind: str, kspace: Tensor, spacing: tuple[float, float, float] | None) -> Scan:
    kspace, _, warnings = checked(kspace, file.name)
    if spacing is None:
        warnings.append("the file does not say the distance of its pixels: 1 mm is written, give --spacing")
        spacing = (1.0, 1.0, 1.0)
    slices, _, rows, columns = kspace.shape
    warnings.append("the file does not say where its slices lie")
    about = ScanInfo(file.name, sha256(file), kind, encoded=(rows, columns, 1), warnings=tuple(warnings))
    mask = sampled(kspace)
    return Scan(kspace * mask.unsqueeze(1), mask, spacing, (rows, columns), unknown(slices, spacing[2]), about)


def _dimensions(header: Path) -> list[int]:
    lines = header.read_text(errors="replace").splitlines()
    for name, values in pairwise(lines):
        if name.strip() == "# Dimensions":
            words = values.split()
            if words and all(word.isdigit() for word in words) and min(map(int, words)) > 0:
                dims = [int(word) for word in words]
                return dims + [1] * (16 - len(dims))
    raise UsageError(f"{header.name}: has no line of dimensions after '# Dimensions'")
