"""What all readers check and share: finite numbers, signal, dead coils; hashes; HDF5 files that may be cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError

DEAD = 1e-8
"""Energy of a coil, relative to the median coil, below which it is dead."""


def checked(kspace: Tensor, file: str) -> tuple[Tensor, list[int], list[str]]:
    """k-space without its dead coils.

    Parameters
    ----------
    kspace
        complex [slice, coil, y, x].
    file
        For messages.

    Returns
    -------
    kspace
        complex64, the coils that are alive.
    coils
        Their indices.
    warnings
        Sentences.

    Raises
    ------
    UsageError
        If it is empty, holds NaN or infinity, or no signal.
    """
    if kspace.numel() == 0:
        raise UsageError(f"{file}: holds no k-space samples (shape {list(kspace.shape)})")
    if not bool(torch.isfinite(torch.view_as_real(kspace.resolve_conj())).all()):
        bad = sorted({int(i) for i in torch.nonzero(~torch.isfinite(kspace.abs()).flatten(1).all(1)).flatten()})
        raise UsageError(f"{file}: k-space holds NaN or infinite samples in slices {_few(bad)}: the file is damaged")
    energy = kspace.abs().double().square().sum((0, 2, 3))
    if float(energy.max()) == 0:
        raise UsageError(f"{file}: k-space is all zeros: nothing was acquired, or the file is damaged")
    typical = energy[energy > 0].median()
    alive = [int(i) for i in torch.nonzero(energy > DEAD * typical).flatten()]
    warnings = []
    if len(alive) < len(energy):
        dead = [i for i in range(len(energy)) if i not in alive]
        warnings.append(f"coil {_few(dead)} of {len(energy)} has no signal and was left out")
        kspace = kspace[:, alive]
    empty = [int(i) for i in torch.nonzero(kspace.abs().sum((1, 2, 3)) == 0).flatten()]
    if empty:
        warnings.append(f"slice {_few(empty)} holds zeros only")
    return kspace.to(torch.complex64), alive, warnings


def sampled(kspace: Tensor) -> Tensor:
    """Where any coil has a sample other than 0, bool [slice, y, x], or [1, y, x] if all slices are alike."""
    there = (kspace != 0).any(1)
    union = there.any(0, keepdim=True)
    columns = union.any(1, keepdim=True).expand_as(union)
    rows = union.any(2, keepdim=True).expand_as(union)
    box = columns & rows
    if float(union.sum()) >= 0.98 * float(box.sum()):  # single samples that happen to be 0
        union = box
    alike = all(float((one & union[0]).sum()) >= 0.98 * float(union.sum()) or not bool(one.any()) for one in there)
    return union if alike else there


def sha256(file: Path) -> str:
    """Of a file, hex; remembered as long as the file does not change."""
    facts = file.stat()
    return _sha256(file, facts.st_size, facts.st_mtime_ns)


@lru_cache(4096)
def _sha256(file: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def open_hdf5(file: Path) -> Iterator[Any]:
    """An HDF5 file; damage is one clear message.

    Raises
    ------
    UsageError
        If it is truncated or damaged.
    """
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{file.name}: cannot be read as HDF5, it is truncated or damaged ({reason})") from error


def number(value: Any) -> float | None:
    """A finite float, or None."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if -1e30 < result < 1e30 else None


def _few(items: list[int]) -> str:
    return ", ".join(map(str, items[:8])) + (", ..." if len(items) > 8 else "")
