"""A scan reconstructed slice by slice, so that progress shows, memory stays small, and finished slices can be kept.

Slice i is drawn with seed + i, so that the result is that of one call with all slices.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.mri.scan import Scan

BEHIND = "agrees less with the data than"
"""In the warnings of a reconstructor about single slices, which are said once for all."""
WORSE = 1.1
"""A data residual that is so many times a classical method's is pointed out."""


def reconstruct(
    scan: Scan,
    reconstructor: Any,
    *,
    seed: int = 0,
    tick: Callable[[int], None] | None = None,
    kept: Path | None = None,
) -> Any:
    """A scan's `Product`, slice by slice; slices without any signal stay empty.

    Parameters
    ----------
    scan
        Any.
    reconstructor
        A `Reconstructor`, or anything called like one.
    seed
        Slice i has ``seed + i``.
    tick
        Called with the number of slices done.
    kept
        Folder in which finished slices are kept, and from which they are taken.

    Returns
    -------
    Product
        Its report adds to the reconstructor's: file, mode, guarantee (restore), metrics (where there is a reference).
    """
    from fewstep.mri.physics import noise_std
    from fewstep.mri.write.product import product, restored

    level = noise_std(scan.kspace, scan.mask) if scan.noise_std is None else scan.noise_std
    volumes: dict[str, np.ndarray] = {}
    reports = []
    for i in range(scan.slices):
        if bool((scan.kspace[i] != 0).any()):
            file = None if kept is None else kept / f"{i:05d}.npz"
            pictures, report = _slice(scan, i, reconstructor, level, seed, file)
            for name, values in pictures.items():
                volumes.setdefault(name, np.zeros((scan.slices, *values.shape), values.dtype))[i] = values
            reports.append(report)
        if tick is not None:
            tick(i + 1)
    report = _merged(reports, seed) | {"mode": scan.mode, "file": scan.info.file, "label": scan.label}
    report["slices_without_signal"] = scan.slices - len(reports)
    tensors = {name: torch.from_numpy(values) for name, values in volumes.items()}
    image, std = tensors.pop("image"), tensors.pop("std", None)
    if scan.mode == "restore":
        image, report["acquired_band_changed_by"] = restored(scan, image)
    made = product(scan, image, std=std, others=tensors, report=report)
    if made.reference is not None:
        report["metrics"] = _metrics(made)
    return made


def _slice(
    scan: Scan, i: int, reconstructor: Any, level: float, seed: int, file: Path | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Pictures [y, x] of one slice by name, and its report; from `file` if it is there, which is written if not."""
    from fewstep.core.files import replacing

    if file is not None and file.is_file():
        with contextlib.suppress(ValueError, OSError, KeyError, zipfile.BadZipFile), np.load(file) as stored:
            arrays = dict(stored)
            return arrays, json.loads(bytes(arrays.pop("report")).decode())
    one = reconstructor(scan.take([i]), noise=level, seed=seed + i)
    tensors = {"image": one.image, "zero-filled": one.zero_filled, **one.others}
    tensors |= {} if one.std is None else {"std": one.std}
    pictures = {name: values[0].resolve_conj().cpu().numpy() for name, values in tensors.items()}
    if file is not None:
        told = np.frombuffer(json.dumps(one.report, default=str).encode(), np.uint8)
        with replacing(file) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, report=told, **pictures)
    return pictures, one.report


def _merged(reports: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """One report of the reports of single slices."""
    if not reports:
        raise UsageError("no slice holds any signal")
    merged = dict(reports[0]) | {"seed": seed}
    names = list(reports[0].get("residual", {}))
    merged["residual"] = {name: [v for report in reports for v in report["residual"][name]] for name in names}
    merged["seconds_per_slice"] = sum(report["seconds_per_slice"] for report in reports) / len(reports)
    several = [w for report in reports for w in report.get("warnings", []) if BEHIND not in w]
    merged["warnings"] = _once(several, len(reports)) + disagreements(str(merged["method"]), merged["residual"])
    return merged


def disagreements(method: str, residuals: Mapping[str, list[float]]) -> list[str]:
    """What to say where a classical method agrees better with the data.

    Parameters
    ----------
    method
        Whose picture is written.
    residuals
        |A x − y| / |y| of each slice, by method.

    Returns
    -------
    list of str
        One sentence for each classical method that is ahead in some slice.
    """
    said = []
    for other in ("cg-sense", "l1-wavelet"):
        pairs = list(zip(residuals[method], residuals.get(other, []), strict=False))
        behind = [i for i, (mine, theirs) in enumerate(pairs) if mine > WORSE * theirs + 1e-6]
        if other != method and behind:
            worst = max(behind, key=lambda i: pairs[i][0] / max(pairs[i][1], 1e-12))
            said.append(
                f"{method} {BEHIND} {other} in {len(behind)} of {len(pairs)} slices, most in number {worst + 1} "
                f"({pairs[worst][0]:.4f} against {pairs[worst][1]:.4f})"
            )
    return said


def _once(warnings: list[str], slices: int) -> list[str]:
    """Each warning once; of those that differ in figures from slice to slice, the first and how many there are."""
    groups: dict[str, list[str]] = {}
    for warning in warnings:
        groups.setdefault("".join(c for c in warning if not c.isdigit()), []).append(warning)
    return [
        same[0]
        if len(set(same)) == 1 and (len(same) == slices or slices == 1)
        else f"{same[0]} (in {len(same)} slices)"
        for same in groups.values()
    ]


def _metrics(made: Any) -> dict[str, dict[str, float]]:
    from fewstep.mri.metrics import nmse, psnr, ssim

    reference = torch.from_numpy(made.reference)
    pictures = {str(made.report["method"]): made.image, **made.others}
    return {
        name: {
            label: round(measure(torch.from_numpy(values), reference), 4)
            for label, measure in (("PSNR", psnr), ("SSIM", ssim), ("NMSE", nmse))
        }
        for name, values in pictures.items()
    }
