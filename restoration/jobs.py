"""What `fewstep restore` and `fewstep degrade` do with each file."""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.restoration import batch
from fewstep.restoration.api import Restorer
from fewstep.restoration.batch import Job
from fewstep.restoration.picture import Picture, read, write
from fewstep.restoration.report import Shown, shown_of, write_report

STD_WHITE = 0.125
"""Standard deviation, white being 1, that is white in the map."""


def restore_all(args: argparse.Namespace) -> int:
    """Restore all inputs of a call of `fewstep restore`; the exit code."""
    found, failed = batch.find(args.inputs, recursive=args.recursive, leave=args.output)
    beside = [file for file in (args.mask, args.kernel) if file is not None and file.is_file()]
    jobs = batch.plan(found, args.output, suffix=args.suffix, format=args.format, keep=beside)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    restorer = _restorer(args)
    restorer.how(**_options(args), samples=args.samples, kernel=None if args.kernel is None else np.ones((1, 1)))
    if args.bits == "16":
        for job in jobs:
            if job.target.suffix.lower() not in (".png", ".tif", ".tiff"):
                raise UsageError(f"--bits 16: {job.target.name} has no 16 bits a channel, use --format png or tif")
    run = batch.Run(json_lines=args.json)
    for folder, reason in failed:
        run.fail(str(folder), reason)
    shown: list[Shown] = []
    with batch.bar(len(jobs)) as start:
        for job in jobs:
            progress = start(str(job.name))
            keep = shown if args.report is not None else None
            run.one(str(job.source), partial(_restore, job, restorer, args, progress, keep), _sentence)
    if args.report is not None and shown:
        folder = args.output if args.output.is_dir() else args.output.parent
        file = args.report if args.report.parent != Path() or args.report.is_absolute() else folder / args.report
        write_report(file, shown)
    return run.end()


def _restorer(args: argparse.Namespace) -> Restorer:
    task = "denoise" if args.kernel is not None else args.task or "sr"
    name = args.model or (f"sr-x{args.scale or 4}" if task == "sr" else task)
    restorer = Restorer.load(name, device=args.device, seed=args.seed)
    model = restorer.model
    if args.kernel is None and args.task is not None and model.task != args.task:
        raise UsageError(f"{name} is for --task {model.task}, got --task {args.task}")
    if args.scale is not None and model.scale != args.scale:
        raise UsageError(f"{name} enlarges {model.scale} times, got --scale {args.scale}")
    if (model.task == "inpaint") != (args.mask is not None):
        raise UsageError(f"{name} is for {model.task}: " + ("give --mask" if args.mask is None else "leave out --mask"))
    return restorer


def _restore(
    job: Job,
    restorer: Restorer,
    args: argparse.Namespace,
    progress: Callable[[float], None] | None,
    shown: list[Shown] | None,
) -> dict[str, Any]:
    if args.skip_existing and job.target.exists():
        return {"status": "skipped", "output": str(job.target)}
    picture = read(job.source)
    options: dict[str, Any] = {"progress": progress} | _options(args)
    for option in ("mask", "kernel"):
        given = getattr(args, option)
        options |= {} if given is None else {option: _beside(given, job, option)}
    files = [job.target]
    bits = None if args.bits == "same" else int(args.bits)
    writing = {"bits": bits, "strip": args.strip_metadata}
    if args.samples > 1:
        drawn = restorer.draw(picture, args.samples, **options)
        made, nfe, warnings = drawn.mean, drawn.nfe, list(drawn.warnings)
        folder = job.target.with_name(f"{job.target.stem}_samples")
        for number, one in enumerate(drawn.samples, start=1):
            files.append(folder / f"{number}{job.target.suffix}")
            write(files[-1], one, **writing)
        files.append(folder / "std.png")
        level = np.rint(np.clip(drawn.std / STD_WHITE, 0, 1) * 255).astype(np.uint8)
        write(files[-1], Picture(level[:, :, None]))
    else:
        done = restorer.restore(picture, **options)
        made, nfe, warnings = done.image, done.nfe, list(done.warnings)
    told = write(job.target, made, **writing)
    if shown is not None:
        shown.append(shown_of(str(job.name), picture, made, f"{nfe} network calls"))
    return {
        "output": str(job.target),
        "files": [str(file) for file in files],
        "model": restorer.name,
        "task": restorer.model.task if args.kernel is None else "deblur",
        "scale": restorer.model.scale,
        "nfe": nfe,
        "seed": restorer.seed,
        "size": list(made.size),
        "warnings": [*picture.warnings, *warnings, *told],
        **({"std_white": STD_WHITE} if args.samples > 1 else {}),
    }


def _options(args: argparse.Namespace) -> dict[str, Any]:
    mode = "sample" if args.mode is None and args.fidelity is None and args.samples > 1 else args.mode
    tile = args.tile if args.tile == "auto" else int(args.tile)
    told = {"mode": mode, "steps": args.steps, "fidelity": args.fidelity, "consistent": args.consistent}
    return {**told, "tile": tile} | ({} if args.noise is None else {"noise": args.noise})


def _sentence(facts: dict[str, Any]) -> str:
    if facts["status"] == "skipped":
        return f"{facts['input']}: {facts['output']} is there already"
    rows, columns = facts["size"]
    calls = "1 network call" if facts["nfe"] == 1 else f"{facts['nfe']} network calls"
    return f"{facts['input']}: {facts['output']}, {columns} x {rows} pixels, {calls}, {facts['seconds']:.1f} s"


def _beside(given: Path, job: Job, what: str) -> Picture:
    if given.is_file():
        return read(given)
    folder = given / job.name.parent
    for suffix in (job.name.suffix, *batch.SUFFIXES):
        if (file := folder / f"{job.name.stem}{suffix}").is_file():
            return read(file)
    raise UsageError(f"no {what} of the name {job.name.stem} in {folder}")


@dataclass(frozen=True)
class Note:
    """What `degraded.json` says of a picture."""

    output: str
    seed: int
    mask: str | None = None


def degrade_all(args: argparse.Namespace) -> int:
    """Degrade all inputs of a call of `fewstep degrade`; the exit code."""
    from fewstep.restoration.degrade.recipe import recipe

    how = dict(recipe(args.recipe))
    found, failed = batch.find(args.inputs, recursive=args.recursive, leave=args.output)
    jobs = batch.plan(found, args.output, suffix=args.suffix, format=args.format)
    run = batch.Run(json_lines=args.json)
    for folder, reason in failed:
        run.fail(str(folder), reason)
    folder = args.output if args.output.is_dir() or args.output.suffix == "" else args.output.parent
    notes: dict[str, Note] = {}
    with batch.bar(len(jobs)) as start:
        for job in jobs:
            start(str(job.name))
            run.one(
                str(job.source),
                partial(_degrade, job, how, args, folder, notes),
                lambda facts: (
                    f"{facts['input']}: {facts['output']}"
                    + (" is there already" if facts["status"] == "skipped" else f", seed {facts['seed']}")
                ),
            )
    if notes:
        with replacing(folder / "degraded.json") as temporary:
            told = {"recipe": how, "seed": args.seed, "pictures": {name: asdict(note) for name, note in notes.items()}}
            temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return run.end()


def _degrade(job: Job, how: dict[str, Any], args: Any, folder: Path, notes: dict[str, Note]) -> dict[str, Any]:
    from fewstep.restoration.degrade.recipe import degrade

    seed = (args.seed * 0x9E3779B1 + zlib.crc32(job.name.as_posix().encode())) % (1 << 31)
    mask_file = folder / "masks" / job.target.relative_to(folder).with_suffix(".png")
    notes[job.name.as_posix()] = Note(str(job.target), seed, str(mask_file) if mask_file.exists() else None)
    if args.skip_existing and job.target.exists():
        return {"status": "skipped", "output": str(job.target)}
    picture = read(job.source)
    top = float(np.iinfo(picture.pixels.dtype).max)
    x0 = torch.from_numpy(picture.pixels.astype(np.float32)).permute(2, 0, 1) * (2 / top) - 1
    if min(x0.shape[1:]) < how["scale"]:
        raise UsageError(f"{picture.size[1]} x {picture.size[0]} pixels are too few to shrink {how['scale']} times")
    lq, mask = degrade(x0.expand(3, -1, -1).contiguous(), how, seed=seed)
    lq = lq.mean(0, keepdim=True) if len(x0) == 1 else lq
    values = ((lq + 1) * (top / 2)).clamp(0, top).round().permute(1, 2, 0).numpy().astype(picture.pixels.dtype)
    alpha = picture.alpha if values.shape[:2] == picture.size else None
    told = write(job.target, replace(picture, pixels=values, alpha=alpha))
    if mask is not None:
        write(mask_file, Picture((mask[0].numpy() > 0.5).astype(np.uint8)[:, :, None] * 255))
        notes[job.name.as_posix()] = Note(str(job.target), seed, str(mask_file))
    return {"output": str(job.target), "seed": seed, "warnings": [*picture.warnings, *told]}
