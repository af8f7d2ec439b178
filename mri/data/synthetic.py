"""Generated complex slices to train priors on where there is no corpus: heads and shapes with phase, blur and noise.

Slice `i` of a seed is always the same slice, whoever asks and in whatever order.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.mri.data import fields, heads, shapes

SLICES, FACTS = "slices.npy", "slices.json"


class SyntheticSlices:
    """An endless list of slices.

    Parameters
    ----------
    size
        Rows and columns.
    seed
        Of the list.
    share_heads
        Share of heads among the slices; the rest are shapes. Without nilearn's tissue maps all are shapes.

    Raises
    ------
    UsageError
        If the size is below 32 or the share is no share.
    """

    def __init__(self, *, size: int = 160, seed: int = 0, share_heads: float = 0.6):
        if size < 32 or not 0 <= share_heads <= 1:
            raise UsageError(f"expected size >= 32 and share_heads in [0, 1], got {size=}, {share_heads=}")
        self.size, self.seed, self.share_heads = size, seed, share_heads
        self.atlas = heads.mni152() if share_heads > 0 else None

    def __getitem__(self, index: int) -> Tensor:
        """Slice `index`, complex64 [size, size]; the 99.5th percentile of its magnitude lies in [0.75, 1.1]."""
        rng = np.random.default_rng([self.seed, index])
        is_head = rng.random() < self.share_heads
        if is_head and self.atlas is not None:
            picture = heads.draw(rng, self.size, self.atlas)
        else:
            picture = shapes.draw(rng, self.size)
        if rng.random() < 0.5:
            picture = ndimage.gaussian_filter(picture, rng.uniform(0.3, 0.8))
        picture = picture * rng.uniform(0.75, 1.1) / max(float(np.quantile(picture, 0.995)), 1e-3)
        noise = rng.standard_normal((2, self.size, self.size)) * rng.uniform(0, 0.012) / np.sqrt(2)
        slice_ = picture * np.exp(1j * fields.phase(rng, self.size)) + noise[0] + 1j * noise[1]
        return torch.from_numpy(slice_.astype(np.complex64))


def store(folder: str | Path, count: int, *, size: int = 160, seed: int = 0, share_heads: float = 0.6) -> Path:
    """Write slices 0 to count − 1 as half-precision numbers; a whole file of the same facts is kept.

    Parameters
    ----------
    folder
        Where to write `slices.npy` (float16, [count, 2, size, size]) and `slices.json` (its facts).
    count
        Number of slices.
    size, seed, share_heads
        As for `SyntheticSlices`.

    Returns
    -------
    pathlib.Path
        The file of slices.

    Raises
    ------
    UsageError
        If the count is below 1.
    """
    if count < 1:
        raise UsageError(f"expected at least one slice, got {count}")
    folder = Path(folder)
    facts = {"count": count, "size": size, "seed": seed, "share_heads": share_heads, "layout": 1}
    if is_stored(folder, facts):
        return folder / SLICES
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{SLICES}.{os.getpid()}"
    slices = SyntheticSlices(size=size, seed=seed, share_heads=share_heads)
    out = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=(count, 2, size, size))
    for i in range(count):
        out[i] = torch.view_as_real(slices[i]).permute(2, 0, 1).numpy()
    out.flush()
    del out
    part.replace(folder / SLICES)
    part = folder / f".{FACTS}.{os.getpid()}"
    part.write_text(json.dumps({**facts, "atlas": slices.atlas is not None}, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / FACTS)
    return folder / SLICES


def is_stored(folder: Path, facts: dict) -> bool:
    """Whether a folder holds whole slices of these facts."""
    if not (folder / FACTS).is_file() or not (folder / SLICES).is_file():
        return False
    found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return all(found.get(name) == value for name, value in facts.items())
