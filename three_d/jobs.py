"""What `fewstep shape` does: everything that can be wrong first, then the shapes, then their files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from fewstep.core.errors import UsageError
from fewstep.three_d import picture, plan, text
from fewstep.three_d.mesh.bridge import GAP
from fewstep.three_d.mesh.clean import ROUNDS, SHARE, require_simplifier
from fewstep.three_d.plan import Job
from fewstep.three_d.render import turntable, viewer
from fewstep.three_d.results import Shape

ERRORS = (ValueError, OSError, RuntimeError, MemoryError)


def shape_all(args: argparse.Namespace) -> int:
    """Make all shapes of a call of `fewstep shape`; the exit code."""
    prompts, failed = _prompts(args)
    jobs = plan.jobs(args, prompts)
    _require(args)
    run = _Run(args)
    for prompt, reason in failed:
        run.count += 1
        run.fail(prompt, reason)
    left = run.without_existing(jobs) if args.skip_existing else jobs
    if left:
        run.all(left)
    return run.end()


def _prompts(args: argparse.Namespace) -> tuple[list[str | None], list[tuple[str, str]]]:
    """Prompts that can be understood, and lines of a file that cannot, with the reason."""
    if args.file is None and not args.prompts:
        return [None], []
    if args.file is None:
        for prompt in args.prompts:
            try:
                text.encode(prompt)
            except UsageError as error:
                unquoted = len(args.prompts) > 1 and all(" " not in one for one in args.prompts)
                hint = '; is it one prompt? then put it in quotes: "..."' if unquoted else ""
                raise UsageError(f"{prompt!r}: {error}{hint}") from None
        return list(args.prompts), []
    name = "standard input" if args.file == "-" else args.file
    content = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text ({error})") from None
    good: list[str | None] = []
    bad: list[tuple[str, str]] = []
    for line in filter(None, lines):
        try:
            text.encode(line)
            good.append(line)
        except UsageError as error:
            bad.append((line, str(error)))
    if not good:
        raise UsageError(f"{name} holds no prompt that can be made" + (f": {bad[0][0]!r}: {bad[0][1]}" if bad else ""))
    return good, bad


def _require(args: argparse.Namespace) -> None:
    """What may be missing on this machine."""
    if args.simplify is not None:
        require_simplifier()
    if args.turntable is not None and args.turntable.suffix.lower() == ".mp4":
        turntable.require_mp4()
    if args.image is not None:
        picture.read(args.image, size=16)


class _Run:
    """Shapes one batch after the other: each is told, or named with the reason why it failed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.failed, self.count = args, 0, 0
        self.made: list[Shape] = []

    def without_existing(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs whose files are not all there."""
        left = []
        for job in jobs:
            if all(file.exists() for file in job.files):
                self.count += 1
                files = [str(file) for file in job.files]
                facts = {"prompt": job.prompt, "status": "skipped", "files": files, "seed": job.seed}
                print(json.dumps(facts) if self.args.json else f"{job.files[0]} is there already", flush=True)
            else:
                left.append(job)
        return left

    def all(self, jobs: Sequence[Job]) -> None:
        """Make them, and what shows all of them."""
        from fewstep.three_d.api import BATCH, ShapeGenerator

        args = self.args
        generator = ShapeGenerator.load(args.model or "shapes-mdt", device=args.device, threads=args.threads)
        with _bar(len(jobs)) as done:
            for first in range(0, len(jobs), BATCH):
                some = jobs[first : first + BATCH]
                for job, shape in zip(some, self._shapes(generator, some, len(jobs) == 1), strict=True):
                    if shape is not None:
                        self._one(job, shape)
                    done()
        if not self.made:
            return
        if args.html is not None:
            viewer.save_page(args.html, [shape.exhibit for shape in self.made], title="Shapes")
        if args.png is not None:
            turntable.save_picture(args.png, self._picture())

    def _shapes(self, generator: Any, jobs: Sequence[Job], alone: bool) -> list[Shape | None]:
        options = {name: getattr(self.args, name) for name in ("steps", "guidance_scale", "temperature")}
        options["share"] = SHARE if self.args.share is None else self.args.share
        options["bridge"] = GAP if self.args.bridge is None else self.args.bridge
        options["smooth"] = ROUNDS if self.args.smooth is None else self.args.smooth
        try:
            return list(generator.make([job.wish for job in jobs], **options))
        except ERRORS:
            if alone:
                raise  # wrong usage, told in one line
        found: list[Shape | None] = []
        for job in jobs:
            try:
                found += generator.make([job.wish], **options)
            except ERRORS as error:
                self.count += 1
                self.fail(job.name, _reason(error))
                found.append(None)
        return found

    def _one(self, job: Job, shape: Shape) -> None:
        self.count += 1
        begun = perf_counter()
        try:
            files, shape = self._write(job, shape)
        except ERRORS as error:
            self.fail(job.name, _reason(error))
            return
        facts = _facts(shape, files, self.args.size, perf_counter() - begun)
        if self.args.html is not None or self.args.png is not None:
            self.made.append(shape)
        if self.args.json:
            print(json.dumps(facts), flush=True)
        else:
            print(_sentence(facts), flush=True)
            for note in shape.notes:
                print(f"{job.name}: {note}", file=sys.stderr)

    def _write(self, job: Job, shape: Shape) -> tuple[list[Path], Shape]:
        args = self.args
        shape = shape.simplified(args.simplify) if args.simplify is not None else shape
        files = [shape.save(file, size=args.size) for file in job.files]
        if job.turntable is not None:
            files.append(shape.turntable(job.turntable))
        if job.gaussians is not None:
            scale = 1.0 if args.size is None else args.size / float(shape.mesh.extents.max())
            files.append(shape.gaussians.scaled(scale).save(job.gaussians, facts=shape.facts))
        return files, shape

    def _picture(self) -> Any:
        if len(self.made) == 1:
            return self.made[0].picture()
        return turntable.sheet([shape.mesh for shape in self.made], [shape.name for shape in self.made])

    def fail(self, name: str, reason: str) -> None:
        """Name what failed."""
        self.failed += 1
        print(f"failed: {name}: {reason}", file=sys.stderr, flush=True)
        if self.args.json:
            print(json.dumps({"prompt": name, "status": "failed", "reason": reason}), flush=True)

    def end(self) -> int:
        """Exit code: 1 if something failed."""
        if self.failed:
            print(f"{self.failed} of {self.count} shapes failed", file=sys.stderr)
        return 1 if self.failed else 0


def _facts(shape: Shape, files: Sequence[Path], size: float | None, writing: float) -> dict[str, Any]:
    seconds = {stage: round(value, 4) for stage, value in shape.seconds.items()} | {"files": round(writing, 4)}
    return {
        "prompt": shape.prompt or None,
        "status": "done",
        "files": [str(file) for file in files],
        "model": shape.model,
        "seed": shape.seed,
        "steps": shape.steps,
        "guidance_scale": shape.guidance_scale,
        "temperature": shape.temperature,
        "nfe": shape.nfe,
        "cells": shape.cells,
        "seconds": seconds,
        "mesh": asdict(shape.report(size=size)),
        "words": list(shape.words),
        "ignored": list(shape.ignored),
        "notes": list(shape.notes),
    }


def _sentence(facts: dict[str, Any]) -> str:
    mesh, seconds = facts["mesh"], facts["seconds"]
    stages = ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items())
    sides = " x ".join(f"{side:.3g}" for side in mesh["extents"])
    closed = "watertight" if mesh["watertight"] else f"{mesh['holes']} holes"
    return (
        f"{', '.join(facts['files'])}: seed {facts['seed']}, {facts['nfe']} network calls, "
        f"{sum(seconds.values()):.2f} s ({stages}), {mesh['faces']} faces, {closed}, {sides} m"
    )


def _reason(error: BaseException) -> str:
    if os.environ.get("FEWSTEP_DEBUG", "0") not in ("", "0"):
        raise error
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("shapes", total=total)
        yield lambda: shown.advance(task)
