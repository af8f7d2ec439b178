"""ISMRMRD files: readouts with flags, counters and places; noise scans whiten the coils, oversampling is taken away.

Inati et al. 2017, doi:10.1002/mrm.26089. Each contrast, repetition, phase and set is a scan of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.geometry import Geometry, unknown, vector
from fewstep.mri.physics.maps import estimate_maps
from fewstep.mri.physics.noise import combine, whitening
from fewstep.mri.physics.readout import crop, remove_oversampling
from fewstep.mri.read.check import checked, open_hdf5, sha256
from fewstep.mri.read.header import Encoding, encoding, info, parse
from fewstep.mri.read.lines import Lines, grid, partitions_to_slices
from fewstep.mri.scan import Scan

NOISE, CALIBRATION, CALIBRATION_AND_IMAGE, REVERSE = 19, 20, 21, 22
SKIPPED = {
    23: "navigator",
    24: "phase correction",
    26: "feedback",
    27: "dummy",
    28: "feedback",
    29: "coil correction",
    30: "phase stabilisation",
    31: "phase stabilisation",
}
COUNTERS = ("contrast", "repetition", "phase", "set")


def read_mrd(file: Path) -> list[Scan]:
    """All scans of an ISMRMRD file.

    Parameters
    ----------
    file
        `.h5` or `.mrd`.

    Returns
    -------
    list of Scan
        One per encoding, contrast, repetition, cardiac phase and set, in this order.

    Raises
    ------
    UsageError
        If the file is damaged, has no header or no image data, is not Cartesian, or contradicts itself.
    """
    with open_hdf5(file) as h5:
        group = _group(h5, file.name)
        header = parse(group["xml"][0], file.name)
        table = group["data"][()]
    if len(table) == 0:
        raise UsageError(f"{file.name}: holds no readouts")
    head = table["head"]
    flags = head["flags"]
    data = [_samples(row, file.name) for row in table]
    image = ~_flagged(flags, NOISE)
    for bit in SKIPPED:
        image &= ~_flagged(flags, bit)
    if not image.any():
        raise UsageError(f"{file.name}: holds no image readouts, only noise, navigators and the like")
    noise = [(data[i], float(head["sample_time_us"][i])) for i in np.flatnonzero(_flagged(flags, NOISE))]
    only_calibration = _flagged(flags, CALIBRATION) & ~_flagged(flags, CALIBRATION_AND_IMAGE)
    digest, scans = sha256(file), []
    parts = list(_parts(head, image, only_calibration))
    labels = _labels([key for key, _, _ in parts])
    for (key, which, calibration), label in zip(parts, labels, strict=True):
        part = _Part(file.name, digest, header, encoding(header, key[0], file.name), key)
        if part.space.calibration in ("separate", "external"):
            which = which & ~only_calibration
        else:
            calibration = np.zeros_like(which)
        scans.append(replace(part.scan(head, data, which, calibration, noise), label=label))
    return scans


class _Part:
    """One encoding, contrast, repetition, phase and set of a file."""

    def __init__(self, file: str, digest: str, header: Any, space: Encoding, key: tuple[int, ...]) -> None:
        self.file, self.digest, self.header, self.space, self.key = file, digest, header, space, key
        if space.trajectory not in ("cartesian", "epi"):
            raise UsageError(f"{file}: its trajectory is {space.trajectory}: only Cartesian scans are read")

    def scan(self, head: Any, data: list, lines: np.ndarray, calibration: np.ndarray, noise: list) -> Scan:
        """Put it together from the readouts of the image and those of a calibration scan."""
        if not lines.any():
            raise UsageError(f"{self.file}: holds calibration lines only")
        warnings: list[str] = []
        if self.space.trajectory == "epi":
            warnings.append("EPI: its ghosts are not corrected")
        kspace, mask, slices = self._filled(head, data, lines)
        kspace, mask, places, notes = self._slices(kspace, mask, head, lines, slices)
        warnings += notes
        kspace, alive, notes = checked(kspace, self.file)
        matrix, level, more = self._whitening(noise, alive, float(head["sample_time_us"][np.argmax(lines)]))
        warnings += notes + more
        kspace = kspace if matrix is None else combine(matrix, kspace)
        kspace, mask = self._without_oversampling(kspace, mask)
        maps = None
        if calibration.any():
            maps, notes = self._maps(head, data, calibration, slices, alive, matrix, kspace)
            warnings += notes
        geometry = self._geometry(head, lines, places)
        if not geometry.known:
            warnings.append("the file does not say where its slices lie")
        spacing, picture = self._sizes(kspace, geometry)
        about = info(
            self.header, file=self.file, sha256=self.digest, kind="ismrmrd", contrast=self.key[1],
            encoded=self.space.encoded.matrix,
        )  # fmt: skip
        return Scan(kspace, mask, spacing, picture, geometry, about, noise_std=level, coil_maps=maps).warn(*warnings)

    def _filled(self, head: Any, data: list, which: np.ndarray) -> tuple[Tensor, Tensor, np.ndarray]:
        """k-space [slice, partition, coil, y, x], mask, and the slice counters that there are."""
        matrix = self.space.encoded.matrix
        index = np.flatnonzero(which)
        idx = head["idx"][index]
        slices, at = np.unique(idx["slice"], return_inverse=True)
        steps = []
        for name, centre, n in zip(
            ("kspace_encode_step_1", "kspace_encode_step_2"), self.space.centres, matrix[1:], strict=True
        ):
            step = idx[name].astype(int)
            steps.append(step if centre is None else step - centre + n // 2)
        before = head["discard_pre"][index].astype(int)
        turned = _flagged(head["flags"][index], REVERSE)
        centre = head["center_sample"][index].astype(int)
        length = np.array([data[i].shape[-1] for i in index])
        after = head["discard_post"][index].astype(int)
        centre = np.where(turned, length - 1 - centre, centre)
        before, after = np.where(turned, after, before), np.where(turned, before, after)
        pieces = []
        for i, flip, a, b in zip(index, turned, before, after, strict=True):
            line = data[i][:, ::-1] if flip else data[i]
            pieces.append(line[:, a : line.shape[-1] - b])
        start = matrix[0] // 2 - centre + before
        kspace, mask = grid(Lines(pieces, start, steps[0], steps[1], at), matrix, len(slices), self.file)
        return kspace, mask, slices

    def _slices(
        self, kspace: Tensor, mask: Tensor, head: Any, which: np.ndarray, slices: np.ndarray
    ) -> tuple[Tensor, Tensor, list, list[str]]:
        """k-space [slice, coil, y, x]; and of each slice (its counter, its offset along the slab in slices)."""
        partitions = kspace.shape[1]
        if partitions == 1:
            mask = mask[:, 0]
            return kspace[:, 0], mask[:1] if bool((mask == mask[:1]).all()) else mask, [(s, 0.0) for s in slices], []
        kspace, mask, notes = partitions_to_slices(kspace, mask, self.file)
        kept = min(partitions, max(1, self.space.recon.matrix[2]))
        kspace = crop(kspace, kept, 0).contiguous()
        return kspace, mask, [(slices[0], k - (kept - 1) / 2) for k in range(kept)], notes

    def _whitening(self, noise: list, alive: list[int], dwell: float) -> tuple[Tensor | None, float | None, list[str]]:
        usable = [(line, time) for line, time in noise if len(line) > max(alive)]
        if not usable:
            return None, None, []
        samples = np.concatenate([line for line, _ in usable], axis=1)[alive]
        ratio = usable[0][1] / dwell if dwell > 0 and usable[0][1] > 0 else 1.0
        try:
            return whitening(torch.from_numpy(samples) * ratio**0.5), 1.0, []
        except UsageError as error:
            return None, None, [f"its noise scan cannot be used ({error})"]

    def _without_oversampling(self, kspace: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        n = kspace.shape[-2]
        rows = min(n, round(n * self.space.recon.field[0] / self.space.encoded.field[0]))
        if rows == n:
            return kspace, mask
        kspace = remove_oversampling(kspace, rows)
        at = (torch.arange(rows) - rows // 2) * n / rows + n // 2
        low, high = at.floor().long().clamp(0, n - 1), at.ceil().long().clamp(0, n - 1)
        mask = mask[:, low] & mask[:, high]
        return kspace * mask.unsqueeze(1), mask

    def _maps(
        self, head: Any, data: list, which: np.ndarray, slices: np.ndarray, alive: list[int], matrix: Any, like: Tensor
    ) -> tuple[Tensor | None, list[str]]:
        """Coil maps from a calibration scan of its own."""
        try:
            kspace, mask, there = self._filled(head, data, which)
            if list(there) != list(slices):
                return None, ["its calibration scan is not of the same slices and was left out"]
            kspace, mask, _, _ = self._slices(kspace, mask, head, which, slices)
            kspace = kspace[:, alive] if matrix is None else combine(matrix, kspace[:, alive])
            kspace, mask = self._without_oversampling(kspace, mask)
            found = estimate_maps(kspace, mask)
        except UsageError as error:
            return None, [f"its calibration scan was left out ({error})"]
        return (found.maps, list(found.warnings)) if found.maps.shape == like.shape else (None, [])

    def _geometry(self, head: Any, which: np.ndarray, places: list) -> Geometry:
        partitions = max(1, self.space.recon.matrix[2])
        step = self.space.recon.field[2] / partitions
        index = np.flatnonzero(which)
        counters = head["idx"]["slice"][index]
        first = {s: index[np.argmax(counters == s)] for s, _ in places}
        one = head[first[places[0][0]]]
        read, phase, normal = (np.array(one[name], float) for name in ("read_dir", "phase_dir", "slice_dir"))
        lengths = np.array([np.linalg.norm(read), np.linalg.norm(phase), abs(read @ phase)])
        if np.abs(lengths - [1, 1, 0]).max() > 1e-2:
            return unknown(len(places), step)
        read /= lengths[0]
        phase = phase - read * (read @ phase)
        phase /= np.linalg.norm(phase)
        for s, i in first.items():
            if min(np.array(head[i]["read_dir"]) @ read, np.array(head[i]["phase_dir"]) @ phase) < 0.999:
                raise UsageError(
                    f"{self.file}: its slices lie in several orientations (slice {s} is turned): "
                    f"write each orientation to a file of its own"
                )
        normal = normal if np.linalg.norm(normal) > 0.5 else np.cross(read, phase)
        middles = [vector(np.array(head[first[s]]["position"], float) + normal * offset * step) for s, offset in places]
        return Geometry(vector(phase), vector(read), tuple(middles), step)

    def _sizes(self, kspace: Tensor, geometry: Geometry) -> tuple[tuple[float, float, float], tuple[int, int]]:
        rows, columns = kspace.shape[-2:]
        height = min(self.space.recon.field[0], self.space.encoded.field[0])
        width = self.space.encoded.field[1]
        kept = min(columns, round(columns * self.space.recon.field[1] / width))
        gap = geometry.gap() or self.space.recon.field[2] / max(1, self.space.recon.matrix[2])
        return (height / rows, width / columns, gap), (rows, kept)


def _group(h5: Any, file: str) -> Any:
    groups = [h5, *(h5[name] for name in h5 if hasattr(h5[name], "keys"))]
    for group in groups:
        if "data" in group and "xml" in group:
            return group
    if any("data" in group for group in groups):
        raise UsageError(
            f"{file}: has readouts but no ISMRMRD header (xml), so its matrix and field of view are unknown: "
            f"convert it again with its header"
        )
    raise UsageError(f"{file}: is no ISMRMRD file with raw data (found {', '.join(sorted(h5)) or 'nothing'})")


def _samples(row: Any, file: str) -> np.ndarray:
    """complex64 [coil, sample]."""
    head, values = row["head"], row["data"]
    coils, samples = int(head["active_channels"]), int(head["number_of_samples"])
    if len(values) != 2 * coils * samples:
        raise UsageError(f"{file}: a readout of {coils} x {samples} samples holds {len(values) // 2}: it is damaged")
    return np.ascontiguousarray(values, np.float32).view(np.complex64).reshape(coils, samples)


def _flagged(flags: np.ndarray, bit: int) -> np.ndarray:
    return (flags >> np.uint64(bit - 1)) & np.uint64(1) > 0


def _parts(
    head: Any, image: np.ndarray, only_calibration: np.ndarray
) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
    """Encoding and counters; which readouts have them; which are for calibration alone and of the same encoding."""
    keys = np.stack([head["encoding_space_ref"], *(head["idx"][name] for name in COUNTERS)], axis=1).astype(int)
    proper = image & ~only_calibration
    for key in sorted({tuple(map(int, row)) for row in keys[proper if proper.any() else image]}):
        of_encoding = keys[:, 0] == key[0]
        yield key, image & (keys == np.array(key)).all(1), image & only_calibration & of_encoding


def _labels(keys: list[tuple[int, ...]]) -> list[str]:
    """What tells the parts from each other."""
    varying = [i for i in range(len(COUNTERS) + 1) if len({key[i] for key in keys}) > 1]
    names = ("encoding", *COUNTERS)
    return [", ".join(f"{names[i]} {key[i] + 1}" for i in varying) for key in keys]
