"""`fewstep eval`: pairs by name, metrics of each, and the means."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.restoration import batch, metrics
from fewstep.restoration.picture import read
from fewstep.restoration.picture.picture import with_bits

REMAINDER = 8
"""A reference may be so many pixels larger than the result that has lost a remainder, less one."""


def evaluate_all(args: argparse.Namespace, wanted: list[str]) -> int:
    """All pairs of a call of `fewstep eval`; the exit code."""
    pairs = pair(args.pred, args.reference, suffix=args.suffix, recursive=args.recursive)
    distance = None
    if args.lpips:
        from fewstep.restoration.metrics.lpips import Lpips

        distance = Lpips.load(args.lpips)
    run, scores = batch.Run(json_lines=args.json), []
    for pred, reference in pairs:

        def work(pred: Path = pred, reference: Path = reference) -> dict[str, Any]:
            values, warnings = score(_values(pred), _values(reference), wanted, crop=args.crop, lpips=distance)
            scores.append(values)
            return {"reference": str(reference), **values, "warnings": warnings}

        run.one(str(pred), work, lambda facts: f"{facts['input']}: {_line(facts, wanted)}")
    if scores:
        means = {name: _mean([one[name] for one in scores]) for name in wanted}
        print(json.dumps({"mean": means, "count": len(scores)}) if args.json else f"mean: {_line(means, wanted)}")
    return run.end()


def pair(pred: Path, reference: Path, *, suffix: str = "", recursive: bool = False) -> list[tuple[Path, Path]]:
    """Results and their references, by name without its ending.

    Parameters
    ----------
    pred, reference
        Two files, or two folders.
    suffix
        That the stems of `pred` have more.
    recursive
        Look into folders in folders.

    Returns
    -------
    list of (file, file)

    Raises
    ------
    UsageError
        If a result has no reference or several, or one is a folder and the other is not; all names are listed.
    """
    for given in (pred, reference):
        if not given.exists():
            raise UsageError(f"{given}: there is no such file or folder")
    if pred.is_dir() != reference.is_dir():
        raise UsageError(f"expected two pictures or two folders, got {pred} and {reference}")
    if pred.is_file():
        return [(pred, reference)]
    results, references = (batch.find([folder], recursive=recursive)[0] for folder in (pred, reference))
    by_stem: dict[str, list[Path]] = {}
    for file, name in references:
        by_stem.setdefault(name.with_suffix("").as_posix(), []).append(file)
    pairs, lost = [], []
    for file, name in results:
        matches = by_stem.get(name.with_suffix("").as_posix().removesuffix(suffix), [])
        if len(matches) == 1:
            pairs.append((file, matches[0]))
        else:
            lost.append(f"{name} ({'none' if not matches else 'several'})")
    if lost:
        raise UsageError(f"not exactly one reference in {reference} for: {', '.join(lost)}")
    return pairs


def score(
    x: np.ndarray, reference: np.ndarray, wanted: list[str], *, crop: int = 0, lpips: Callable[..., float] | None = None
) -> tuple[dict[str, float | None], list[str]]:
    """Metrics of one pair.

    Parameters
    ----------
    x, reference
        uint8 [rows, columns, 1 or 3].
    wanted
        Names, see `fewstep.restoration.cli.METRICS`.
    crop
        Pixels left out at each border.
    lpips
        For ``"lpips"``.

    Returns
    -------
    values : dict
        None where a picture is too small for a metric.
    warnings : list of str

    Raises
    ------
    UsageError
        If the sizes differ by more than the remainder of a shrinking.
    """
    warnings = []
    more = [b - a for a, b in zip(x.shape[:2], reference.shape[:2], strict=True)]
    if min(more) < 0 or max(more) >= REMAINDER:
        raise UsageError(
            f"{x.shape[1]} x {x.shape[0]} pixels, its reference {reference.shape[1]} x {reference.shape[0]}"
        )
    if max(more) > 0:
        warnings.append(f"{more[0]} rows and {more[1]} columns of the reference were cut off")
        reference = reference[: x.shape[0], : x.shape[1]]
    colours = max(x.shape[2], reference.shape[2])
    a, b = (np.repeat(v, 3, 2) if v.shape[2] < colours else v for v in (x, reference))
    a, b = metrics.cropped(a, crop), metrics.cropped(b, crop)
    y, gray = (metrics.luma(v, data_range=255) for v in (a, b))
    ways: dict[str, Callable[[], float]] = {
        "psnr_y": lambda: metrics.psnr(y, gray, data_range=255),
        "psnr_rgb": lambda: metrics.psnr(a, b, data_range=255),
        "ssim": lambda: metrics.ssim(y, gray, data_range=255),
        "ms_ssim": lambda: metrics.ms_ssim(y, gray, data_range=255),
        "gmsd": lambda: metrics.gmsd(y, gray, data_range=255),
        "niqe": lambda: metrics.niqe(a, data_range=255),
    }
    if lpips is not None:
        ways["lpips"] = lambda: lpips(a, b, data_range=255)
    values: dict[str, float | None] = {}
    for name in wanted:
        try:
            values[name] = round(value, 5) if math.isfinite(value := ways[name]()) else None
            if values[name] is None and name.startswith("psnr"):
                warnings.append(f"{name}: the pictures are equal")
        except UsageError as error:
            values[name] = None
            warnings.append(f"{name}: {error}")
    return values, warnings


def _values(file: Path) -> np.ndarray:
    return with_bits(read(file).pixels, 8)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 5) if known else None


def _line(facts: dict[str, Any], wanted: list[str]) -> str:
    return ", ".join(f"{name} {'-' if facts[name] is None else format(facts[name], '.4f')}" for name in wanted)
