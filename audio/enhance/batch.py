"""The recordings of one call of `fewstep enhance`, one after the other: what fails is named, and the rest is done."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from fewstep.audio.enhance.api import Enhancer, Report
from fewstep.audio.enhance.files import FORMATS, SUFFIXES, require_apart
from fewstep.core.errors import UsageError

STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One recording and where its enhanced version goes; None is the standard stream."""

    source: Path | None
    output: Path | None
    in_folder: bool = False


def find_jobs(inputs: Sequence[str], output: str, *, suffix: str | None = None) -> list[Job]:
    """What is to be done.

    Parameters
    ----------
    inputs
        Files, folders (searched at any depth), or "-".
    output
        A file if there is one file to do, "-", or a folder.
    suffix
        Of outputs in a folder, without the dot; default: the input's own, or wav.

    Raises
    ------
    UsageError
        If an input does not exist, folders hold no recording, the output does not fit, two outputs would be one file,
        or one would be its own input.
    """
    if suffix is not None and f".{suffix.lstrip('.')}" not in FORMATS:
        raise UsageError(f"--format is one of {', '.join(s[1:] for s in FORMATS)}, got {suffix!r}")
    single = len(inputs) == 1 and (inputs[0] == STREAM or not Path(inputs[0]).is_dir())
    if output == STREAM or (single and _names_file(output)):
        if not single:
            raise UsageError(f"-o {output} is for one recording: give a folder for several")
        source = None if inputs[0] == STREAM else _existing(Path(inputs[0]))
        return [Job(source, None if output == STREAM else Path(output))]
    if STREAM in inputs:
        raise UsageError(f"standard input needs -o - or a file ({', '.join(FORMATS)}), got {output}")
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: -o wants a folder here")
    jobs = [job for name in inputs for job in _of(Path(name), folder, suffix)]
    if not jobs:
        raise UsageError(f"no recording ({', '.join(SUFFIXES)}) in {', '.join(inputs)}")
    taken: dict[Path | None, Job] = {}
    for job in jobs:
        _require_apart(job)
        if (other := taken.setdefault(job.output, job)) is not job:
            raise UsageError(f"{other.source} and {job.source} would both become {job.output}: do them in two calls")
    return jobs


def _names_file(output: str) -> bool:
    return Path(output).suffix.lower() in FORMATS and not Path(output).is_dir()


def _existing(file: Path) -> Path:
    if not file.exists():
        raise UsageError(f"{file}: there is no such file or folder")
    return file


def _of(place: Path, folder: Path, suffix: str | None) -> Iterator[Job]:
    if not _existing(place).is_dir():
        yield Job(place, folder / _renamed(Path(place.name), suffix))
        return
    inside = folder.resolve()
    for file in sorted(place.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(place).parts)
        ours = inside in file.resolve().parents and inside != place.resolve()
        if not file.is_file() or hidden or ours:
            continue
        if file.suffix.lower() in SUFFIXES:
            yield Job(file, folder / _renamed(file.relative_to(place), suffix), in_folder=True)
        else:
            print(f"passed over: {file}: no recording by its name", file=sys.stderr)


def _require_apart(job: Job) -> None:
    if job.source is not None and job.output is not None:
        require_apart(job.source, job.output)


def _renamed(name: Path, suffix: str | None) -> Path:
    if suffix is not None:
        return name.with_suffix(f".{suffix.lstrip('.')}")
    return name if name.suffix.lower() in FORMATS else name.with_suffix(".wav")


class Batch:
    """All jobs of one call.

    Parameters
    ----------
    enhancer
        What does them.
    options
        Keyword arguments of `Enhancer.file`.
    resume
        Leave out outputs in a folder that exist and are not older than their input.
    as_json
        Print one JSON object per recording instead of a line.
    """

    def __init__(self, enhancer: Enhancer, options: dict[str, Any], *, resume: bool = True, as_json: bool = False):
        self.enhancer, self.options, self.resume, self.as_json = enhancer, options, resume, as_json
        self.told: TextIO = sys.stdout
        self.failed = 0

    def run(self, jobs: Sequence[Job]) -> int:
        """Do them all; 1 if some failed, 0 otherwise. The only job raises its error."""
        if len(jobs) == 1 and jobs[0].output is None:
            self.told = sys.stderr  # standard output carries the sound
        with _bar(len(jobs)) as tick:
            for job in jobs:
                self._one(job, tick, alone=len(jobs) == 1 and not job.in_folder)
        if self.failed:
            print(f"{self.failed} of {len(jobs)} recordings failed", file=sys.stderr)
        return 1 if self.failed else 0

    def _one(self, job: Job, tick: Any, *, alone: bool) -> None:
        tick(0.0, str(job.source or "standard input"))
        if self.resume and job.in_folder and _done(job):
            self._tell({"file": str(job.source), "output": str(job.output), "status": "skipped"},
                       f"{job.source}: done before, {job.output}")  # fmt: skip
            return
        try:
            report = self._enhanced(job, tick)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            if alone:
                raise
            self.failed += 1
            print(f"failed: {error}", file=sys.stderr)
            if self.as_json:
                self._tell({"file": str(job.source), "status": "failed", "reason": str(error)}, "")
            return
        self._tell(asdict(report) | {"status": "done"}, _sentence(report))

    def _enhanced(self, job: Job, tick: Any) -> Report:
        with tempfile.TemporaryDirectory(prefix="fewstep-enhance-") as place:
            source, output = job.source, job.output
            if source is None:
                source = Path(place) / "standard-input"
                with open(source, "wb") as stream:
                    shutil.copyfileobj(sys.stdin.buffer, stream)
            if output is None:
                output = Path(place) / "standard-output.wav"
            report = self.enhancer.file(source, output, progress=lambda share: tick(share, None), **self.options)
            if job.output is None:
                with open(output, "rb") as stream:
                    shutil.copyfileobj(stream, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            names = {"file": str(job.source or STREAM), "output": str(job.output or STREAM)}
            return Report(**(asdict(report) | names))

    def _tell(self, facts: dict[str, Any], sentence: str) -> None:
        print(json.dumps(facts) if self.as_json else sentence, file=self.told, flush=True)


def _done(job: Job) -> bool:
    if job.source is None or job.output is None:
        return False
    return job.output.is_file() and job.output.stat().st_mtime >= job.source.stat().st_mtime


def _sentence(report: Report) -> str:
    return (
        f"{report.file} -> {report.output}: {report.seconds:.2f} s, {report.channels} channel"
        f"{'' if report.channels == 1 else 's'}, {report.sample_rate} Hz, {report.nfe} network calls, real-time factor "
        f"{report.real_time_factor:.3f}"
    )


@contextmanager
def _bar(jobs: int) -> Iterator[Any]:
    """A progress bar on a terminal, nothing elsewhere: a function of the share done, and of a new name."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda share, name: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        whole, part = bar.add_task("recordings", total=jobs, visible=jobs > 1), bar.add_task("", total=1.0)
        begun = False

        def tick(share: float, name: str | None) -> None:
            nonlocal begun
            if name is not None:
                bar.advance(whole, int(begun))
                bar.update(part, description=Path(name).name[:40])
                begun = True
            bar.update(part, completed=share)

        yield tick
