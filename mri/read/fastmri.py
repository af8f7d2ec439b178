"""fastMRI's HDF5 files: `kspace` [slice, coil, readout, phase], an ISMRMRD header, and `mask` in test files.

Zbontar et al. 2018, arXiv:1811.08839. The readout is oversampled twice; single-coil files have no coil axis.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import unknown
from fewstep.mri.physics.readout import remove_oversampling
from fewstep.mri.read.check import checked, open_hdf5, sampled, sha256
from fewstep.mri.read.header import encoding, info, parse
from fewstep.mri.scan import Scan


def read_fastmri(file: Path) -> list[Scan]:
    """The one scan of a fastMRI file.

    Parameters
    ----------
    file
        `.h5`.

    Returns
    -------
    list of Scan
        One.

    Raises
    ------
    UsageError
        If the file is damaged, has no header, k-space of another shape, a mask of the wrong length, or no signal.
    """
    with open_hdf5(file) as h5:
        data = _kspace(h5, file.name)
        if "ismrmrd_header" not in h5:
            raise UsageError(
                f"{file.name}: has no ismrmrd_header, so its field of view is unknown: "
                f"write it there, or save the k-space as .npy and give --spacing"
            )
        header = parse(h5["ismrmrd_header"][()], file.name)
        mask = np.asarray(h5["mask"][()]) if "mask" in h5 else None
        target = _target(h5)
        said = {key: h5.attrs.get(key) for key in ("acquisition", "patient_id")}
    kspace, _, warnings = checked(torch.from_numpy(data), file.name)
    space = encoding(header, 0, file.name)
    acquired, notes = _mask(kspace, mask, file.name)
    warnings += notes
    rows = min(kspace.shape[-2], round(kspace.shape[-2] * space.recon.field[0] / space.encoded.field[0]))
    columns = kspace.shape[-1]
    spacing_y = space.encoded.field[0] / kspace.shape[-2]
    spacing_x = space.encoded.field[1] / columns
    width = min(columns, round(space.recon.field[1] / spacing_x))
    slices = len(kspace)
    thickness = space.recon.field[2] / max(1, space.recon.matrix[2])
    about = info(header, file=file.name, sha256=sha256(file), kind="fastmri", encoded=space.encoded.matrix)
    patient = about.patient
    if said["patient_id"]:
        patient = patient | {"PatientID": str(said["patient_id"])[:64]}
    protocol = about.protocol or (str(said["acquisition"]) if said["acquisition"] else None)
    kspace = remove_oversampling(kspace, rows)
    acquired = acquired[:, :1].expand(-1, rows, -1)
    kspace = kspace * acquired.unsqueeze(1)
    if target is not None and target.shape != (slices, rows, width):
        warnings.append(f"its reconstruction is {list(target.shape[1:])}, ours {[rows, width]}: not compared")
        target = None
    return [
        Scan(
            kspace=kspace,
            mask=acquired,
            spacing=(spacing_y, spacing_x, thickness),
            picture=(rows, width),
            geometry=unknown(slices, thickness),
            info=replace(
                about,
                patient=patient,
                protocol=protocol,
                warnings=("the file does not say where its slices lie", *warnings),
            ),
            reference=target if float(acquired.float().mean()) > 0.6 else None,
        )
    ]


def _kspace(h5: Any, file: str) -> np.ndarray:
    if "kspace" not in h5:
        raise UsageError(f"{file}: expected a data set kspace, found {', '.join(sorted(h5)) or 'nothing'}")
    data = h5["kspace"]
    if data.ndim not in (3, 4) or data.dtype.kind != "c":
        raise UsageError(
            f"{file}: expected complex kspace [slice, coil, readout, phase], got {data.dtype} {list(data.shape)}"
        )
    values = np.asarray(data[()], dtype=np.complex64)
    return values if values.ndim == 4 else values[:, None]


def _target(h5: Any) -> Tensor | None:
    for name in ("reconstruction_rss", "reconstruction_esc"):
        if name in h5:
            return torch.from_numpy(np.asarray(h5[name][()], dtype=np.float32))
    return None


def _mask(kspace: Tensor, given: np.ndarray | None, file: str) -> tuple[Tensor, list[str]]:
    """bool [1, readout, phase] from the file's mask and what is not 0."""
    columns = kspace.shape[-1]
    there = sampled(kspace).any(1, keepdim=True)
    if given is None:
        missing = 1 - float(there.float().mean())
        inner = there[..., columns // 8 : -columns // 8].float().mean()
        notes = (
            [f"has no mask: the {missing:.0%} of its lines that are zero count as not acquired"] if inner < 1 else []
        )
        return there.expand(-1, kspace.shape[-2], -1), notes
    if given.size != columns:
        raise UsageError(f"{file}: its mask has {given.size} entries, its k-space {columns} lines")
    mask = torch.from_numpy(given.reshape(1, 1, columns).astype(bool))
    lost = int((mask & ~there.any(0, keepdim=True)).sum())
    notes = [f"{lost} lines of its mask hold zeros and count as not acquired"] if lost else []
    return (mask & there).expand(-1, kspace.shape[-2], -1), notes
