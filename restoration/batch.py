"""Many files: what to read, where each result goes, and what to do when one fails.

No result takes the place of an input or of another result, on no file system: names are compared without case.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewstep.core.errors import UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".ppm", ".pgm")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
ERRORS = (ValueError, OSError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Job:
    """One file.

    Parameters
    ----------
    source
        What to read.
    name
        Its place among the inputs, for masks and messages: a path relative to the folder that was given.
    target
        What to write.
    """

    source: Path
    name: Path
    target: Path


def find(
    inputs: Sequence[Path], *, recursive: bool = False, leave: Path | None = None
) -> tuple[list[tuple[Path, Path]], list[tuple[Path, str]]]:
    """Picture files.

    Parameters
    ----------
    inputs
        Files and folders; a file is taken whatever its name is.
    recursive
        Look into folders in folders; links to folders are not followed.
    leave
        A folder within the inputs that is left out: that of the results.

    Returns
    -------
    found : list of (file, name)
        Sorted within each folder, none twice.
    failed : list of (folder, reason)
        Folders that cannot be read.

    Raises
    ------
    UsageError
        If an input does not exist, or there is no picture at all.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    failed: list[tuple[Path, str]] = []
    for given in inputs:
        if given.is_dir():
            for file in _in_folder(given, recursive, None if leave is None else leave.resolve(), failed):
                found.setdefault(file.resolve(), (file, file.relative_to(given)))
        elif given.exists():
            found.setdefault(given.resolve(), (given, Path(given.name)))
        else:
            raise UsageError(f"{given}: there is no such file or folder")
    if not found and not failed:
        raise UsageError(
            f"no picture in {', '.join(map(str, inputs))} (looked for {', '.join(SUFFIXES)}"
            f"{'' if recursive else '; --recursive looks into folders in folders'})"
        )
    return list(found.values()), failed


def _in_folder(folder: Path, recursive: bool, leave: Path | None, failed: list[tuple[Path, str]]) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        failed.append((folder, f"cannot be read: {error.strerror or error}"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if recursive and not entry.is_symlink() and entry.resolve() != leave:
                yield from _in_folder(entry, recursive, leave, failed)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def plan(
    found: Sequence[tuple[Path, Path]],
    out: Path,
    *,
    suffix: str = "",
    format: str = "same",
    keep: Iterable[Path] = (),
) -> list[Job]:
    """Where each result goes.

    Parameters
    ----------
    found
        From `find`.
    out
        A folder; or the file itself if it ends like a picture, is no folder, and there is one input.
    suffix
        Added to each stem.
    format
        ``"same"`` as the input is called, or a suffix without its dot.
    keep
        Further files that must not be written over.

    Returns
    -------
    list of Job
        With different targets. Of inputs that would meet, each keeps its own suffix in its name, then gets a number.

    Raises
    ------
    UsageError
        If a result would take the place of an input.
    """
    if len(found) == 1 and out.suffix.lower() in WRITABLE and not out.is_dir():
        jobs = [Job(*found[0], out if format == "same" else out.with_suffix(f".{format}"))]
    else:
        targets = _different([_target(name, suffix, format) for _, name in found], [name for _, name in found])
        jobs = [Job(source, name, out / target) for (source, name), target in zip(found, targets, strict=True)]
    inputs = {_plain(source) for source, _ in found} | {_plain(file) for file in keep}
    for job in jobs:
        if _plain(job.target) in inputs:
            raise UsageError(
                f"{job.target} is an input: choose another folder with -o, or add to names with --suffix _new"
            )
    return jobs


def _target(name: Path, suffix: str, format: str) -> Path:
    ending = name.suffix if name.suffix.lower() in WRITABLE else ".png"
    return name.with_name(f"{name.stem}{suffix}{ending if format == 'same' else f'.{format}'}")


def _different(targets: list[Path], names: list[Path]) -> list[Path]:
    count: dict[str, int] = {}
    for target in targets:
        key = str(target).casefold()
        count[key] = count.get(key, 0) + 1
    taken, made = {key for key, n in count.items() if n == 1}, []
    for target, name in zip(targets, names, strict=True):
        if count[str(target).casefold()] > 1:
            stem = f"{target.stem}.{name.suffix.lstrip('.')}" if name.suffix else target.stem
            candidate, number = target.with_name(f"{stem}{target.suffix}"), 1
            while str(candidate).casefold() in taken:
                number += 1
                candidate = target.with_name(f"{stem}-{number}{target.suffix}")
            target = candidate
            taken.add(str(target).casefold())
        made.append(target)
    return made


def _plain(file: Path) -> str:
    return str(file.resolve()).casefold()


class Run:
    """Jobs one after the other: each is done, skipped or named with the reason why it failed.

    Parameters
    ----------
    json_lines
        Tell one JSON object per file instead of a sentence.
    """

    def __init__(self, *, json_lines: bool) -> None:
        self.json_lines, self.failed, self.count = json_lines, 0, 0

    def one(self, name: str, work: Callable[[], dict[str, Any]], sentence: Callable[[dict[str, Any]], str]) -> bool:
        """Do a job.

        Parameters
        ----------
        name
            Of its input.
        work
            Does it and gives facts; `ERRORS` are told, and the next job goes on.
        sentence
            Facts as people read them.

        Returns
        -------
        bool
            Whether it was done.
        """
        self.count += 1
        begun = time.perf_counter()
        try:
            facts = {"input": name, "status": "done", **work()}
        except ERRORS as error:
            if os.environ.get("FEWSTEP_DEBUG", "0") not in ("", "0"):
                raise
            self.fail(name, _reason(error))
            return False
        if facts["status"] == "done":
            facts["seconds"] = round(time.perf_counter() - begun, 3)
        for warning in facts.get("warnings", ()):
            print(f"{name}: {warning}", file=sys.stderr)
        print(json.dumps(facts) if self.json_lines else sentence(facts), flush=True)
        return True

    def fail(self, name: str, reason: str) -> None:
        """Name what failed."""
        self.failed += 1
        reason = reason if reason.startswith(name) else f"{name}: {reason}"
        print(f"failed: {reason}", file=sys.stderr, flush=True)
        if self.json_lines:
            print(json.dumps({"input": name, "status": "failed", "reason": reason}), flush=True)

    def end(self) -> int:
        """Exit code: 1 if something failed."""
        if self.failed:
            print(f"{self.failed} of {self.count or self.failed} inputs failed", file=sys.stderr)
        return 1 if self.failed else 0


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    if isinstance(error, MemoryError):
        return "out of memory"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def bar(jobs: int) -> Iterator[Callable[[str], Callable[[float], None] | None]]:
    """A progress bar on a terminal: ``start(name)`` gives what a job tells its progress; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        whole = shown.add_task("pictures", total=jobs)
        parts: list[Any] = []

        def start(name: str) -> Callable[[float], None]:
            for part in parts:
                shown.remove_task(part)
                shown.advance(whole)
            parts[:] = [shown.add_task(name[-40:], total=1.0)]
            return lambda done: shown.update(parts[0], completed=done)

        yield start
