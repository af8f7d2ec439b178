"""Readouts sorted into k-space: where each line belongs, averages, partitions of 3D scans turned into slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier


@dataclass(frozen=True)
class Lines:
    """Readouts of one encoding.

    Parameters
    ----------
    data
        complex64 [line, coil, sample].
    start
        Of each, the row of its first sample, int [line].
    column, partition, slice
        Where each belongs, int [line].
    """

    data: list[np.ndarray]
    start: np.ndarray
    column: np.ndarray
    partition: np.ndarray
    slice: np.ndarray

    def take(self, which: np.ndarray) -> Lines:
        """Those where `which` is True."""
        data = [line for line, kept in zip(self.data, which, strict=True) if kept]
        return Lines(data, self.start[which], self.column[which], self.partition[which], self.slice[which])


def grid(lines: Lines, matrix: tuple[int, int, int], slices: int, file: str) -> tuple[Tensor, Tensor]:
    """Fill k-space; lines that come several times are averaged.

    Parameters
    ----------
    lines
        Readouts.
    matrix
        (readout, phase, partition).
    slices
        How many.
    file
        For messages.

    Returns
    -------
    kspace
        complex64 [slice, partition, coil, readout, phase].
    mask
        bool [slice, partition, readout, phase].

    Raises
    ------
    UsageError
        If a line is outside of the matrix, or the number of coils changes.
    """
    rows, columns, partitions = matrix
    coils = {len(line) for line in lines.data}
    if len(coils) != 1:
        raise UsageError(f"{file}: its readouts have {sorted(coils)} channels, expected one number")
    if (
        lines.column.min() < 0
        or lines.column.max() >= columns
        or lines.partition.min() < 0
        or lines.partition.max() >= partitions
    ):
        raise UsageError(
            f"{file}: lines {lines.column.min()} to {lines.column.max()} and partitions {lines.partition.min()} to "
            f"{lines.partition.max()} do not fit its matrix of {columns} x {partitions}: its header is wrong"
        )
    kspace = np.zeros((slices, partitions, coils.pop(), columns, rows), np.complex64)
    count = np.zeros((slices, partitions, columns, rows), np.int32)
    for data, start, k1, k2, s in zip(lines.data, lines.start, lines.column, lines.partition, lines.slice, strict=True):
        first, last = max(0, start), min(rows, start + data.shape[-1])
        if first >= last:
            continue
        kspace[s, k2, :, k1, first:last] += data[:, first - start : last - start]
        count[s, k2, k1, first:last] += 1
    kspace /= np.maximum(count, 1)[:, :, None]
    return torch.from_numpy(kspace).mT, torch.from_numpy(count > 0).mT


def partitions_to_slices(kspace: Tensor, mask: Tensor, file: str) -> tuple[Tensor, Tensor, list[str]]:
    """The partitions of one 3D slab as slices, by a Fourier transform along them.

    Parameters
    ----------
    kspace
        complex [1, partition, coil, y, x].
    mask
        bool [1, partition, y, x].
    file
        For messages.

    Returns
    -------
    kspace
        complex [partition, coil, y, x].
    mask
        bool [1, y, x].
    warnings
        Sentences.

    Raises
    ------
    UsageError
        If there are several slabs, or partitions are undersampled in more than a missing end.
    """
    if len(kspace) != 1:
        raise UsageError(f"{file}: holds {len(kspace)} slabs of a 3D scan in one contrast: split them")
    by_partition = mask[0].flatten(1).any(1)
    there = torch.nonzero(by_partition).flatten()
    used = mask[0][by_partition]
    whole = used.any(0)
    incomplete = int((whole & ~used.all(0)).sum())
    n = len(by_partition)
    contiguous = int(there[-1] - there[0]) + 1 == len(there) and bool(by_partition[n // 2])
    if incomplete > 0.02 * int(whole.sum()) or not contiguous:
        raise UsageError(
            f"{file}: is a 3D scan undersampled along its partitions, which is not supported: "
            f"only its lines within a partition may be left out"
        )
    notes = []
    if len(there) < n:
        notes.append(
            f"3D with partial Fourier: {n - len(there)} of {n} partitions were not acquired and are taken as zero, "
            f"so slices are blurred along the slab"
        )
    slices = Fourier(tuple(kspace.shape[1:]), (0,)).apply_adjoint(kspace)[0]
    return slices * whole, whole.unsqueeze(0), notes
