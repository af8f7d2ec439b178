"""A DICOM series in order: slices by their place along the normal, never by number; mixtures split or refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import Geometry, vector
from fewstep.mri.read.check import number
from fewstep.mri.read.dicom import Frame, frames

TELL_APART = (
    "EchoTime",
    "InversionTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "DiffusionBValue",
    "TriggerTime",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "StackID",
)
"""What may differ between two pictures of one place."""

NEAR = 0.01
"""mm within which two places are one."""


@dataclass(frozen=True)
class Series:
    """Slices of one contrast, in order of their place.

    Parameters
    ----------
    headers
        Classic headers, one a slice.
    values
        float32 [slice, rows, columns], rescaled as the headers say.
    spacing
        mm between rows, columns, slices.
    geometry
        Of the slices.
    label
        What tells it from others of its series, or "".
    warnings
        Sentences.
    """

    headers: tuple[Any, ...]
    values: np.ndarray
    spacing: tuple[float, float, float]
    geometry: Geometry
    label: str
    warnings: tuple[str, ...]


def read_series(sources: Iterable[tuple[str, Any]], name: str) -> list[Series]:
    """All stacks of slices in some DICOM objects of one series.

    Parameters
    ----------
    sources
        (name for messages, path or binary stream).
    name
        Of the series, for messages.

    Returns
    -------
    list of Series
        One for each echo, time, b value, ...

    Raises
    ------
    UsageError
        If an object is refused, or slices have several orientations or sizes, or two of one place cannot be told apart.
    """
    pictures: list[Frame] = []
    seen: dict[tuple[str, int], bytes] = {}
    doubles = 0
    for label, source in sources:
        for i, frame in enumerate(frames(source, label)):
            key, content = (str(frame.header.get("SOPInstanceUID", label)), i), frame.pixels.tobytes()
            if key in seen:
                if seen[key] != content:
                    raise UsageError(f"{label}: has the SOPInstanceUID of another picture with other pixels")
                doubles += 1
                continue
            seen[key] = content
            pictures.append(frame)
    if not pictures:
        raise UsageError(f"{name}: holds no MR pictures")
    notes = (f"{doubles} identical copies of slices were left out",) if doubles else ()
    stacks = _stacks(pictures, name)
    return [_series(stack, label, notes, name) for label, stack in stacks]


def _stacks(pictures: Sequence[Frame], name: str) -> list[tuple[str, list[Frame]]]:
    """Pictures by what tells them apart, if there are several of one place."""
    sizes = {(int(f.header.Rows), int(f.header.Columns)) for f in pictures}
    if len(sizes) > 1:
        raise UsageError(f"{name}: mixes pictures of {sorted(sizes)} in one series: give each size by itself")
    places = [_place(frame, name) for frame in pictures]
    rounded = {tuple(np.round(np.concatenate(place[1:]), 2)) for place in places}
    if len(rounded) > 1:
        raise UsageError(
            f"{name}: holds {len(rounded)} orientations in one series, as a localizer does: give each by itself"
        )
    groups: dict[tuple, list[Frame]] = {(): list(pictures)}
    names: list[str] = []
    for keyword in TELL_APART:
        if all(_distinct([_place(f, name)[0] for f in group]) for group in groups.values()):
            break
        split: dict[tuple, list[Frame]] = defaultdict(list)
        for key, group in groups.items():
            for frame in group:
                split[(*key, str(frame.header.get(keyword, "")))].append(frame)
        if len(split) > len(groups):
            groups, names = dict(split), [*names, keyword]
    for group in groups.values():
        if not _distinct([_place(f, name)[0] for f in group]):
            raise UsageError(
                f"{name}: holds several pictures of one place that neither echo, time nor b value tells apart"
            )
    labels = [", ".join(f"{n} {v}" for n, v in zip(names, key, strict=True)) for key in groups]
    return list(zip(labels, groups.values(), strict=True))


def _series(stack: list[Frame], label: str, notes: tuple[str, ...], name: str) -> Series:
    places = [_place(frame, name) for frame in stack]
    _, row, column = places[0]
    spacing = [number(v) for v in stack[0].header.get("PixelSpacing") or []]
    if len(spacing) != 2 or not all(v and v > 0 for v in spacing):
        raise UsageError(f"{name}: its header has no PixelSpacing")
    size = (int(stack[0].header.Rows), int(stack[0].header.Columns))
    to_middle = row * spacing[1] * (size[1] - 1) / 2 + column * spacing[0] * (size[0] - 1) / 2
    thickness = number(stack[0].header.get("SliceThickness"))
    geometry = Geometry(vector(row), vector(column), tuple(vector(p + to_middle) for p, _, _ in places), thickness)
    order = geometry.order()
    geometry = geometry.take(order)
    values = np.stack([_rescaled(stack[i]) for i in order])
    warnings = list(notes)
    gap = geometry.gap() or thickness or number(stack[0].header.get("SpacingBetweenSlices"))
    along = np.array(geometry.middles) @ np.array(geometry.normal)
    if len(along) > 2 and np.diff(along).max() > 1.5 * np.median(np.diff(along)):
        warnings.append("slices are missing: one gap is more than 1.5 times the usual")
    if not gap:
        raise UsageError(f"{name}: its header has neither several slices nor a SliceThickness")
    if any(str(f.header.get("LossyImageCompression", "00")) == "01" for f in stack):
        warnings.append("its pictures were compressed with loss before")
    if np.abs(values).max() == 0:
        raise UsageError(f"{name}: all its pixels are zero")
    if values.min() < 0:
        warnings.append("holds negative values, which no magnitude has; they count as zero")
        values = values.clip(0)
    headers = tuple(stack[i].header for i in order)
    return Series(headers, values, (spacing[0], spacing[1], gap), geometry, label, tuple(warnings))  # type: ignore[arg-type]


def _place(frame: Frame, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position of the first pixel, row and column direction."""
    position, orientation = frame.header.get("ImagePositionPatient"), frame.header.get("ImageOrientationPatient")
    if position is None or orientation is None or len(position) != 3 or len(orientation) != 6:
        raise UsageError(f"{name}: its header does not say where the slices lie (ImagePositionPatient, -Orientation)")
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    if np.abs([row @ row - 1, column @ column - 1, row @ column]).max() > 1e-2:
        raise UsageError(
            f"{name}: its ImageOrientationPatient {list(map(float, orientation))} is no pair of directions"
        )
    row /= np.linalg.norm(row)
    column = column - row * (row @ column)
    return np.array(position, float), row, column / np.linalg.norm(column)


def _distinct(positions: list[np.ndarray]) -> bool:
    at = np.array(positions)
    gaps = np.linalg.norm(at[:, None] - at[None], axis=-1) + np.eye(len(at)) * 1e9
    return bool(gaps.min() > NEAR) if len(at) > 1 else True


def _rescaled(frame: Frame) -> np.ndarray:
    slope = number(frame.header.get("RescaleSlope", 1))
    intercept = number(frame.header.get("RescaleIntercept", 0))
    return frame.pixels.astype(np.float32) * (1.0 if slope is None else slope) + (intercept or 0.0)
