"""What is written: pictures of one scan, cut to the field of view, upright, in order, and all that is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.operators import Fourier
from fewstep.mri.geometry import Geometry, Turn, upright
from fewstep.mri.physics.readout import crop_picture
from fewstep.mri.scan import Scan, ScanInfo

ROUNDS = 6
"""Projections on what was acquired and on what is not negative, in turn."""


@dataclass(frozen=True)
class Product:
    """Pictures of one scan, ready to be written.

    Parameters
    ----------
    image
        complex64 [slice, rows, columns].
    std
        float32 [slice, rows, columns] or None.
    others
        Name -> complex64 [slice, rows, columns]: zero-filled and classical methods.
    reference
        float32 [slice, rows, columns] or None.
    spacing, geometry, info, mode, label, headers
        As in `Scan`, of these pictures.
    report
        Plain values.
    """

    image: np.ndarray
    std: np.ndarray | None
    others: Mapping[str, np.ndarray]
    reference: np.ndarray | None
    spacing: tuple[float, float, float]
    geometry: Geometry
    info: ScanInfo
    mode: str
    label: str
    headers: tuple[Any, ...]
    report: Mapping[str, Any]

    @property
    def magnitude(self) -> np.ndarray:
        """float32 [slice, rows, columns]."""
        return np.abs(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.image.shape[1], self.image.shape[2]

    @property
    def name(self) -> str:
        """Protocol, or the file's name, and the label."""
        return " ".join(part for part in (self.info.protocol or self.info.file, self.label) if part)


def product(
    scan: Scan,
    image: Tensor,
    *,
    std: Tensor | None = None,
    others: Mapping[str, Tensor] | None = None,
    report: Mapping[str, Any],
) -> Product:
    """Cut, turn and order what a reconstruction gave.

    Parameters
    ----------
    scan
        What was reconstructed.
    image
        complex64 [slice, y, x] over the whole field of view of its k-space.
    std
        Real [slice, y, x] or None.
    others
        Pictures of other methods, complex [slice, y, x].
    report
        Plain values.

    Returns
    -------
    Product
        Slices in order of their place; turned to the usual view unless they come from DICOM or NIfTI.
    """
    turn = upright(scan.geometry) if scan.mode == "raw" and scan.geometry.known else Turn()
    order = turn.geometry(scan.geometry).order()

    def pictures(values: Tensor, *, cut: bool = True) -> np.ndarray:
        values = crop_picture(values, scan.picture) if cut else values
        return np.ascontiguousarray(turn.pictures(values[order].resolve_conj().cpu().numpy()))

    reference = None if scan.reference is None else pictures(scan.reference.abs(), cut=False)
    spacing = turn.pair(scan.spacing)
    return Product(
        image=pictures(image),
        std=None if std is None else pictures(std),
        others={name: pictures(values) for name, values in (others or {}).items()},
        reference=reference,
        spacing=(spacing[0], spacing[1], spacing[2]),
        geometry=turn.geometry(scan.geometry.take(order)),
        info=scan.info,
        mode=scan.mode,
        label=scan.label,
        headers=tuple(scan.headers[i] for i in order) if scan.headers else (),
        report=report,
    )


def restored(scan: Scan, image: Tensor) -> tuple[Tensor, list[float]]:
    """A restored magnitude whose acquired band is that of the source, and by how much it is not.

    Parameters
    ----------
    scan
        In mode "restore".
    image
        complex [slice, y, x].

    Returns
    -------
    image : Tensor
        complex64 with imaginary part 0, not negative: what is written.
    kept : list of float
        |P F(out) − P F(in)| / |P F(in)| of each slice, P the acquired band; not 0 only because a magnitude is not
        negative.
    """
    transform = Fourier(tuple(image.shape[1:]), (0, 1))
    measured = scan.kspace[:, 0]
    for _ in range(ROUNDS):
        image = transform.apply_adjoint(torch.where(scan.mask, measured, transform.apply(image)))
        image = image.real.clamp(min=0).to(torch.complex64)
    error = torch.where(scan.mask, transform.apply(image) - measured, 0).flatten(1)
    size = torch.linalg.vector_norm(measured.flatten(1), dim=1).clamp(min=1e-30)
    return image, (torch.linalg.vector_norm(error, dim=1) / size).tolist()
