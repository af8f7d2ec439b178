"""Where the files of each shape go: no two in one place, on no file system, and none over what is read."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fewstep.core.errors import UsageError
from fewstep.three_d.api import Wish
from fewstep.three_d.mesh.export import FORMATS
from fewstep.three_d.render.turntable import moving_of, still_of
from fewstep.three_d.render.viewer import page_of


@dataclass(frozen=True)
class Job:
    """One shape.

    Parameters
    ----------
    prompt
        Words; None: the picture alone.
    image
        A file, or None.
    seed
        That is asked for.
    files
        Meshes.
    turntable, gaussians
        Further files; None: not wanted.
    """

    prompt: str | None
    image: Path | None
    seed: int
    files: tuple[Path, ...]
    turntable: Path | None = None
    gaussians: Path | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.prompt or self.image}, seed {self.seed}"

    @property
    def wish(self) -> Wish:
        """It, as the generator takes it."""
        return Wish(self.prompt, self.image, self.seed)


def jobs(args: argparse.Namespace, prompts: Sequence[str | None]) -> list[Job]:
    """All shapes of a call of `fewstep shape`.

    Parameters
    ----------
    args
        Its options.
    prompts
        Those that can be understood; [None] for a picture alone.

    Returns
    -------
    list of Job
        `args.num` for each prompt.

    Raises
    ------
    UsageError
        If a suffix is unknown, or two files would be in one place, or one over what is read.
    OSError
        If a folder cannot be written.
    """
    wanted = [(prompt, args.seed + k) for prompt in prompts for k in range(args.num)]
    stems, formats = _stems(args, wanted)
    meshes = [tuple(stem.with_name(stem.name + ending) for ending in formats) for stem in stems]
    turning = _numbered(None if args.turntable is None else moving_of(args.turntable), len(wanted))
    if args.gaussians is not None and args.gaussians.suffix.lower() != ".ply":
        raise UsageError(f"--gaussians {args.gaussians}: Gaussians are written as .ply")
    splats = _numbered(args.gaussians, len(wanted))
    whole = [*([still_of(args.png)] if args.png else []), *([page_of(args.html)] if args.html else [])]
    files = [*(file for group in meshes for file in group), *turning, *splats, *whole]
    _require_apart([file for file in files if file is not None], [args.image, args.file])
    for folder in dict.fromkeys(file.parent for file in files if file is not None):
        _require_writable(folder)
    each = zip(wanted, meshes, turning, splats, strict=True)
    return [Job(prompt, args.image, seed, mesh, turn, splat) for (prompt, seed), mesh, turn, splat in each]


def _stems(args: argparse.Namespace, wanted: Sequence[tuple[str | None, int]]) -> tuple[list[Path], list[str]]:
    """Paths without their suffixes, and the suffixes."""
    out: Path = args.output
    formats = [f".{name}" for name in args.format]
    if out.is_dir() or not out.suffix:
        return [out / name for name in _names(wanted, args.image)], formats or [".glb"]
    if out.suffix.lower() not in FORMATS:
        raise UsageError(f"-o {out}: expected a folder, or a name that ends in {', '.join(FORMATS)}")
    if out.suffix.lower() not in formats:
        formats = [out.suffix, *formats]
    stem = out.with_suffix("")
    return (
        [stem] if len(wanted) == 1 else [stem.with_name(f"{stem.name}-{k}") for k in range(1, len(wanted) + 1)]
    ), formats


def _names(wanted: Sequence[tuple[str | None, int]], image: Path | None) -> list[str]:
    """`a-tall-red-chair-seed0`: words, or the name of the picture, and the seed; a number where two would be one."""
    taken: set[str] = set()
    names = []
    for prompt, seed in wanted:
        words = re.sub(r"[^a-z0-9]+", "-", (prompt or (image.stem if image else "")).lower()).strip("-")
        base = name = f"{words[:60].strip('-') or 'shape'}-seed{seed}"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        names.append(name)
    return names


def _numbered(file: Path | None, count: int) -> list[Path | None]:
    if file is None or count == 1:
        return [file] * count
    return [file.with_name(f"{file.stem}-{k}{file.suffix}") for k in range(1, count + 1)]


def _require_apart(files: Sequence[Path], read: Sequence[Path | str | None]) -> None:
    inputs = {_plain(Path(file)) for file in read if file is not None and str(file) != "-"}
    seen: set[str] = set()
    for file in files:
        place = _plain(file)
        if place in inputs:
            raise UsageError(f"{file} is read by this call: choose another name")
        if place in seen:
            raise UsageError(f"{file} would be written twice: choose another name")
        if file.is_dir():
            raise UsageError(f"{file} is a folder")
        seen.add(place)


def _plain(file: Path) -> str:
    return str(file.resolve()).casefold()


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write to {folder}: {error.strerror or error}") from None
    if not os.access(folder, os.W_OK):
        raise OSError(f"cannot write to {folder}: no permission")
