"""`fewstep recon`, and the MRI part of `fewstep demo`. Light to import: torch comes in when a command runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUMMARY = {"recon": "reconstruct MRI scans: fewstep recon scan.h5 -o out/"}
METHODS = (
    "dds", "conditional", "pnp-cm", "diffpir", "ddnm", "dps", "regression",
    "l1-wavelet", "tv", "cg-sense", "zero-filled",
)  # fmt: skip
"""Those of `fewstep.mri.methods`, which is too heavy to import for help."""
FORMATS = ("dicom", "nifti", "png", "npz")
TOLD = (
    "label", "method", "nfe", "samples", "seed", "mode", "acceleration", "residual", "metrics",
    "acquired_band_changed_by", "warnings",
)  # fmt: skip
"""What --json tells of each scan."""


def recon(argv: Sequence[str]) -> int:
    """`fewstep recon`: files and folders of scans in, DICOM and other files out.

    Parameters
    ----------
    argv : sequence of str
        See `fewstep recon --help`.

    Returns
    -------
    int
        0; 1 if some scans failed (each named on stderr, the rest is done).

    Raises
    ------
    ValueError, OSError
        For wrong usage, before anything is written.
    """
    args = _parser().parse_args(list(argv))
    settings = _settings(args)
    from fewstep.mri.read import find_jobs

    jobs = find_jobs(args.inputs)
    _require_writable(args.output)
    reconstructor = _reconstructor(settings, args)
    return _Run(args, settings, reconstructor).all(jobs)


def demo(out: Path) -> dict:
    """Simulate a scan with 8 coils, leave out three of four lines, reconstruct it into `out/scan` and say how well.

    Parameters
    ----------
    out : Path
        Folder of the demonstration.

    Returns
    -------
    dict
        Files and figures.
    """
    from fewstep.mri.demonstration import demonstrate

    return demonstrate(out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewstep recon",
        description="Reconstruct MRI scans in a few network calls, in agreement with the data, and write them as "
        "DICOM, NIfTI, PNG and npz with a report. Reads fastMRI and ISMRMRD HDF5, Siemens twix .dat, .npy and BART "
        ".cfl; and, in the modes restore and qa, magnitude DICOM (files, folders, zip archives) and NIfTI.",
        epilog="A scan that is done is not done again; several workers may share one output folder. No medical device.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="files, folders, zip archives")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of results")
    parser.add_argument("--method", default="dds", choices=METHODS, help="how (default: dds)")
    parser.add_argument("--model", help="a name that ships, a folder or a hub id (default: what ships for the method)")
    parser.add_argument("--steps", type=int, help="steps of a diffusion method (default: the method's own)")
    parser.add_argument(
        "--samples", type=int, help="of the posterior: their mean is the image, 2 or more give a std map"
    )
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal pictures (default: 0)")
    parser.add_argument("--mode", default="raw", choices=("raw", "restore", "qa"),
                        help="raw: k-space; restore: magnitude pictures whose acquired band is kept; qa: magnitude "
                        "pictures undersampled as a simulation (default: raw)")  # fmt: skip
    parser.add_argument("--accel", type=float, metavar="R", help="qa: acceleration of the simulated scan")
    parser.add_argument("--mask", default="equispaced_fraction", help="qa: kind of its mask (default: %(default)s)")
    parser.add_argument("--coils", type=int, default=1, help="qa: simulated coils (default: 1)")
    parser.add_argument("--virtual-coils", type=int, metavar="N",
                        help="combine more coils than N into N, which is faster (default: keep all)")  # fmt: skip
    parser.add_argument("--band", type=int, nargs=2, metavar=("ROWS", "COLUMNS"),
                        help="restore: acquired part of k-space, for files that do not say")  # fmt: skip
    parser.add_argument("--enlarge", type=int, default=1, metavar="N", help="restore: N times as many rows and columns")
    parser.add_argument("--spacing", type=float, nargs=3, metavar=("ROWS", "COLUMNS", "SLICES"),
                        help="mm between rows, columns and slices, for .npy and .cfl")  # fmt: skip
    parser.add_argument("--format", default="dicom,nifti,png", metavar="LIST",
                        help="some of dicom,nifti,png,npz (default: %(default)s)")  # fmt: skip
    parser.add_argument("--report", action=argparse.BooleanOptionalAction, default=True, help="write report.html")
    parser.add_argument("--compare", action=argparse.BooleanOptionalAction, default=True,
                        help="compute CG-SENSE and L1-wavelet too and report their residuals")  # fmt: skip
    parser.add_argument("--skip-existing", "--resume", action=argparse.BooleanOptionalAction, default=True,
                        help="leave out what is done with the same source and options (default: yes)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per input")
    return parser


def _settings(args: argparse.Namespace) -> Any:
    """Check the options before anything heavy is imported."""
    formats = tuple(part.strip() for part in args.format.split(",") if part.strip())
    if not formats or set(formats) - set(FORMATS):
        raise ValueError(f"--format is some of {','.join(FORMATS)}, got {args.format!r}")
    for name in ("steps", "samples", "threads", "coils", "virtual-coils"):
        value = getattr(args, name.replace("-", "_"))
        if value is not None and value < 1:
            raise ValueError(f"--{name} is at least 1, got {value}")
    if args.mode == "qa" and (args.accel is None or args.accel <= 1):
        raise ValueError(f"--mode qa needs --accel above 1, got {args.accel}")
    if args.mode != "qa" and args.accel is not None:
        raise ValueError("--accel is for --mode qa: what a raw scan left out is in its file")
    if args.mode != "restore" and (args.band or args.enlarge != 1):
        raise ValueError("--band and --enlarge are for --mode restore")
    if args.spacing and min(args.spacing) <= 0:
        raise ValueError(f"--spacing is above 0, got {args.spacing}")
    from fewstep.mri.batch import Settings
    from fewstep.mri.read import Options

    options = {name: getattr(args, name) for name in ("steps", "samples") if getattr(args, name) is not None}
    reading = Options(
        args.mode,
        acceleration=args.accel,
        mask=args.mask,
        coils=args.coils,
        seed=args.seed,
        band=tuple(args.band) if args.band else None,
        enlarge=args.enlarge,
    )
    return Settings(
        out=args.output,
        reading=reading,
        method=args.method,
        model=args.model,
        method_options=options,
        spacing=tuple(args.spacing) if args.spacing else None,
        seed=args.seed,
        formats=formats,
        report=args.report,
        compare=args.compare,
        device=args.device,
        virtual_coils=args.virtual_coils,
    )


def _reconstructor(settings: Any, args: argparse.Namespace) -> Any:
    import torch

    from fewstep.mri.api import Reconstructor

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    try:
        device = torch.device(settings.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {settings.device} cannot be used here ({str(error).splitlines()[0]})") from error
    return Reconstructor.load(
        settings.model, method=settings.method, compare=settings.compare, virtual_coils=settings.virtual_coils,
        device=device, **settings.method_options,
    )  # fmt: skip


def _require_writable(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: -o wants a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write to {folder}: {error}") from error
    if not os.access(folder, os.W_OK):
        raise OSError(f"cannot write to {folder}: no permission")


class _Run:
    """All jobs of one call, study by study; what other workers are doing is left to them."""

    def __init__(self, args: argparse.Namespace, settings: Any, reconstructor: Any) -> None:
        self.args, self.settings, self.reconstructor = args, settings, reconstructor
        self.failed = 0

    def all(self, jobs: list[Any]) -> int:
        from fewstep.mri.write.claims import claim

        studies: dict[str, list[Any]] = {}
        for job in jobs:
            studies.setdefault(job.study, []).append(job)
        left = []
        with _progress(len(jobs)) as progress:
            for study, part in studies.items():
                with claim(self.settings.out / ".jobs" / f"{study[:32] or 'broken'}.claim") as mine:
                    if mine:
                        for job in part:
                            self.one(job, progress, alone=len(jobs) == 1)
                    else:
                        left += part
        for job in left:
            self.tell({"input": job.name, "status": "left"}, f"{job.name}: another worker is at it")
        if self.failed:
            print(f"{self.failed} of {len(jobs)} inputs failed", file=sys.stderr)
        return 1 if self.failed else 0

    def one(self, job: Any, progress: Any, *, alone: bool) -> None:
        """Do a job; its failure is told and counted, and the next goes on."""
        from fewstep.mri.batch import done, run
        from fewstep.mri.read.dicom import NotForUs

        progress.begin(job.name)
        try:
            key = self.settings.key(job, self.reconstructor.model)
            if self.args.skip_existing and (manifest := done(self.settings, key)) is not None:
                where = self.settings.out / Path(manifest["files"][0]).parts[0]
                self.tell(_facts(job, manifest, "skipped"), f"{job.name}: done before, {where}")
                return
            manifest = run(job, self.settings, self.reconstructor, key, progress.tick)
            self.tell(_facts(job, manifest, "done"), _sentence(job, manifest, self.settings.out))
            for scan in manifest["scans"]:
                for warning in scan.get("warnings", []):
                    print(f"{job.name}: {warning}", file=sys.stderr)
        except NotForUs as error:
            if alone:
                raise
            self.tell({"input": job.name, "status": "passed over", "reason": str(error)}, f"passed over: {error}")
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            if os.environ.get("FEWSTEP_DEBUG", "0") not in ("", "0"):
                raise
            self.failed += 1
            reason = str(error) or type(error).__name__
            reason = reason if reason.startswith(job.name) else f"{job.name}: {reason}"
            print(f"failed: {reason}", file=sys.stderr)
            if self.args.json:
                print(json.dumps({"input": job.name, "status": "failed", "reason": reason}))
        finally:
            progress.end()

    def tell(self, facts: dict[str, Any], sentence: str) -> None:
        print(json.dumps(facts) if self.args.json else sentence)


def _facts(job: Any, manifest: dict[str, Any], status: str) -> dict[str, Any]:
    scans = [{name: scan.get(name) for name in TOLD} for scan in manifest["scans"]]
    return {
        "input": job.name,
        "status": status,
        "key": manifest["key"],
        "seconds": manifest["seconds"],
        "files": manifest["files"],
        "scans": scans,
    }


def _sentence(job: Any, manifest: dict[str, Any], out: Path) -> str:
    scans = manifest["scans"]
    slices = sum(len(scan["residual"][scan["method"]]) for scan in scans)
    first = scans[0]
    folder = out / Path(manifest["files"][0]).parts[0]
    text = (
        f"{job.name}: {slices} slices in {manifest['seconds']:.1f} s, {first['method']}, "
        f"{first['nfe']} network calls a sample, {folder}"
    )
    kept = first.get("acquired_band_changed_by")
    return f"{text}; the acquired band changed by at most {max(kept):.1e}" if kept else text


@contextmanager
def _progress(jobs: int) -> Iterator[Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield _Quiet()
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield _Bars(bar, jobs)


class _Quiet:
    def begin(self, name: str) -> None:
        """Nothing to see."""

    def tick(self, done: int, total: int) -> None:
        """Nothing to see."""

    def end(self) -> None:
        """Nothing to see."""


class _Bars(_Quiet):
    def __init__(self, bar: Any, jobs: int) -> None:
        self.bar = bar
        self.whole = bar.add_task("inputs", total=jobs)
        self.part: Any = None

    def begin(self, name: str) -> None:
        self.part = self.bar.add_task(name[:40], total=None)

    def tick(self, done: int, total: int) -> None:
        self.bar.update(self.part, completed=done, total=total)

    def end(self) -> None:
        self.bar.remove_task(self.part)
        self.bar.advance(self.whole)
