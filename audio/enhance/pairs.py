"""Folders of recorded pairs: equal file names below a clean and a noisy folder.

VoiceBank-DEMAND (Valentini-Botinhao 2017, doi:10.7488/ds/2117): ``clean_trainset_28spk_wav`` beside
``noisy_trainset_28spk_wav``, and likewise for ``testset``. WSJ0 as SGMSE lays it out: ``train/clean`` beside
``train/noisy``, and likewise ``valid`` and ``test``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewstep.audio.enhance.corpus import audio_files
from fewstep.audio.io import read_audio
from fewstep.core.errors import UsageError

_LAYOUT = (
    "expected folders clean_trainset*/noisy_trainset* (and clean_testset*/noisy_testset*), or {train,valid,test}/"
    "{clean,noisy}"
)


@dataclass(frozen=True)
class PairedFiles:
    """Clean and noisy recordings of equal names."""

    clean: tuple[Path, ...]
    noisy: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.clean)

    def read(self, index: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Clean and noisy, float32 [n] at `rate`, cut to the shorter one.

        Raises
        ------
        ValueError
            If one cannot be read, or their lengths differ by more than a tenth of a second.
        """
        clean, noisy = (read_audio(file, rate)[0][0].numpy() for file in (self.clean[index], self.noisy[index]))
        if abs(len(clean) - len(noisy)) > rate // 10:
            raise ValueError(
                f"{self.clean[index]} and {self.noisy[index]} are no pair: {len(clean)} and {len(noisy)} samples"
            )
        n = min(len(clean), len(noisy))
        return clean[:n], noisy[:n]


def paired_files(folder: str | Path) -> dict[str, PairedFiles]:
    """The pairs of a folder, by side; a side without a folder takes every twentieth pair of the training set.

    Raises
    ------
    UsageError
        If the layout is neither of the two, or names do not match.
    """
    folder = Path(folder)
    found = {side: pair for side in ("train", "valid", "test") if (pair := _pair(folder, side)) is not None}
    if "train" not in found:
        raise UsageError(f"{folder}: {_LAYOUT}")
    train = found["train"]
    if "valid" not in found:
        held, rest = _every(train, slice(19, None, 20)), _every(train, None)
        found["valid"], found["train"] = (held, rest) if len(held) else (train, train)
    return {"train": found["train"], "validation": found["valid"], "test": found.get("test", found["valid"])}


def _pair(folder: Path, side: str) -> PairedFiles | None:
    plain = folder / side / "clean", folder / side / "noisy"
    if not all(place.is_dir() for place in plain):
        named = [sorted(folder.glob(f"{kind}_{side}set*")) for kind in ("clean", "noisy")]
        if not all(named):
            return None
        plain = named[0][0], named[1][0]
    files = [{str(file.relative_to(place)): file for file in audio_files(place)} for place in plain]
    alone = sorted(files[0].keys() ^ files[1].keys())
    if alone:
        raise UsageError(f"{folder}: {len(alone)} recordings have no partner of the same name, the first: {alone[0]}")
    names = sorted(files[0])
    return PairedFiles(tuple(files[0][n] for n in names), tuple(files[1][n] for n in names))


def _every(pairs: PairedFiles, kept: slice | None) -> PairedFiles:
    """The pairs of a slice; None: those that are not the twentieth."""
    places = range(len(pairs))[kept] if kept is not None else [i for i in range(len(pairs)) if i % 20 != 19]
    return PairedFiles(tuple(pairs.clean[i] for i in places), tuple(pairs.noisy[i] for i in places))
