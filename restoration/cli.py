"""`fewstep restore`, `degrade`, `eval`, and a part of `fewstep demo`. Light: torch is imported when one runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUMMARY = {
    "restore": "enlarge, denoise, deblur or inpaint pictures: fewstep restore in/ -o out/ --task sr",
    "degrade": "make bad pictures of good ones by a recipe: fewstep degrade in/ -o out/ --recipe bicubic4",
    "eval": "compare pictures with their references: fewstep eval out/ in/",
}
TASKS = ("sr", "denoise", "deblur", "inpaint", "jpeg")
FORMATS = ("same", "png", "jpg", "webp", "tif", "bmp")
METRICS = ("psnr_y", "psnr_rgb", "ssim", "ms_ssim", "gmsd", "niqe")


def restore(argv: Sequence[str]) -> int:
    """`fewstep restore`: pictures and folders in, restored pictures out.

    Parameters
    ----------
    argv : sequence of str
        See `fewstep restore --help`.

    Returns
    -------
    int
        0; 1 if some pictures failed (each named on stderr, the rest is done).

    Raises
    ------
    ValueError, OSError
        For wrong usage, before anything is written.
    """
    parser = _parser("restore", "Restore pictures in a few network calls. Reads and writes PNG, JPEG, WebP, TIFF and "
                     "BMP (GIF, PPM become PNG); keeps bits, transparency, EXIF and colour profile.")  # fmt: skip
    add = parser.add_argument
    add("--task", choices=TASKS, help="sr enlarges, inpaint fills where the mask is white (default: sr)")
    add("--scale", type=int, metavar="N", help="of sr (default: 4)")
    add("--model", help="a name that ships, a folder or a hub id (default: what ships for the task)")
    add("--mode", choices=("mean", "sample"), help="mean: least error, one call; sample: one of the likely pictures "
        "(default: mean, unless steps, samples or a fidelity are given)")  # fmt: skip
    add("--steps", type=int, metavar="N", help="network calls of a sample (default: the model's)")
    add("--fidelity", type=float, metavar="F", help="0: a sample, 1: the mean, between: a blend")
    add("--samples", type=int, default=1, metavar="N", help="average N samples; each is written too, with a std map")
    add("--seed", type=int, default=0, help="equal seeds give equal pictures (default: 0)")
    add("--mask", type=Path, metavar="FILE|DIR", help="inpaint: one for all, or a folder with the same names")
    add(
        "--kernel",
        type=Path,
        metavar="FILE|DIR",
        help="deblur: take this blur out, a picture of a point; one for all, or a folder with the same names",
    )
    add(
        "--noise",
        type=float,
        metavar="S",
        help="beside --kernel: standard deviation in levels of 255 (default: measured)",
    )
    add("--tile", default="auto", metavar="auto|N|0", help="pixels a side of the result; does not show (default: auto)")
    add("--consistent", action=argparse.BooleanOptionalAction,
        help="sr: make the result agree with its input (default: yes, if trained on bicubic alone)")  # fmt: skip
    add("--suffix", default="", metavar="TEXT", help="added to names, for example _x4")
    add("--bits", default="same", choices=("same", "8", "16"), help="a channel (default: same)")
    add("--strip-metadata", action="store_true", help="leave out EXIF, colour profile and resolution")
    add("--report", type=Path, metavar="FILE", nargs="?", const=Path("report.html"),
        help="a page of the pictures before and after (default: OUT/report.html)")  # fmt: skip
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    args = parser.parse_args(list(argv))
    _check(args)
    from fewstep.restoration.jobs import restore_all

    return restore_all(args)


def degrade(argv: Sequence[str]) -> int:
    """`fewstep degrade`: good pictures in, bad ones out, with a note of the recipe and each seed.

    Parameters
    ----------
    argv : sequence of str
        See `fewstep degrade --help`.

    Returns
    -------
    int
        0; 1 if some pictures failed.

    Raises
    ------
    ValueError, OSError
        For wrong usage, before anything is written.
    """
    parser = _parser("degrade", "Degrade pictures by a recipe, for training and for tests. Writes OUT/degraded.json "
                     "with the recipe and the seed of each picture, and masks in OUT/masks.")  # fmt: skip
    parser.add_argument("--recipe", required=True, help="bicubic2/3/4, gauss15/25/50, noise, motion, defocus, inpaint, "
                        "jpeg, realesrgan1/2/4, or a YAML file")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--suffix", default="", metavar="TEXT", help="added to names")
    args = parser.parse_args(list(argv))
    _at_least(args, seed=0)
    from fewstep.restoration.jobs import degrade_all

    return degrade_all(args)


def eval(argv: Sequence[str]) -> int:
    """`fewstep eval`: metrics of each picture against its reference, and their means.

    Parameters
    ----------
    argv : sequence of str
        See `fewstep eval --help`.

    Returns
    -------
    int
        0; 1 if some pairs failed.

    Raises
    ------
    ValueError, OSError
        For wrong usage: above all, pictures without a reference, all named.
    """
    parser = argparse.ArgumentParser(
        prog="fewstep eval", description="Compare restored pictures with their references, which have the same names.",
        epilog="PSNR-Y, SSIM, MS-SSIM and GMSD are of the luma; NIQE needs no reference. 8-bit values.",
    )  # fmt: skip
    parser.add_argument("pred", type=Path, metavar="PRED", help="a picture or a folder")
    parser.add_argument("reference", type=Path, metavar="GT", help="its reference, or a folder with the same names")
    parser.add_argument(
        "--crop", type=int, default=0, metavar="N", help="leave out N pixels at each border (default: 0)"
    )
    parser.add_argument("--metrics", default=",".join(METRICS), metavar="LIST", help="some of %(default)s, lpips")
    parser.add_argument("--suffix", default="", metavar="TEXT", help="that names in PRED have more, for example _x4")
    parser.add_argument("--lpips", type=Path, nargs="+", metavar="FILE", help="weights of AlexNet and of LPIPS's heads")
    parser.add_argument("--recursive", action="store_true", help="look into folders in folders")
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture, then the means")
    args = parser.parse_args(list(argv))
    _at_least(args, crop=0)
    wanted = [part.strip() for part in args.metrics.split(",") if part.strip()]
    if not wanted or set(wanted) - {*METRICS, "lpips"}:
        raise ValueError(f"--metrics is some of {','.join(METRICS)},lpips, got {args.metrics!r}")
    if "lpips" in wanted and not args.lpips:
        raise ValueError("lpips needs weights, which do not ship: --lpips alexnet.pth heads.pth")
    from fewstep.restoration.evaluate import evaluate_all

    return evaluate_all(args, wanted + (["lpips"] if args.lpips and "lpips" not in wanted else []))


def demo(out: Path) -> dict:
    """Shrink a photograph, enlarge it again, and say how well.

    Parameters
    ----------
    out : Path
        Folder of the demonstration.

    Returns
    -------
    dict
        Files and figures.
    """
    from fewstep.restoration.demonstration import demonstrate

    return demonstrate(out)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"fewstep {name}", description=description)
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="pictures and folders")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder, or file for one picture"
    )
    parser.add_argument("--recursive", action="store_true", help="look into folders in folders")
    parser.add_argument("--skip-existing", action="store_true", help="leave out pictures whose result is there")
    parser.add_argument("--format", default="same", choices=FORMATS, help="of the results (default: same)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture")
    return parser


def _check(args: argparse.Namespace) -> None:
    """Options that can be wrong, before anything heavy is imported."""
    _at_least(args, steps=1, samples=1, scale=1, threads=1, seed=0)
    if args.fidelity is not None and not 0 <= args.fidelity <= 1:
        raise ValueError(f"--fidelity is from 0 to 1, got {args.fidelity}")
    if args.tile != "auto" and not args.tile.isdigit():
        raise ValueError(f"--tile is auto, 0 or a number of pixels, got {args.tile!r}")
    if args.bits == "16" and args.format not in ("same", "png", "tif"):
        raise ValueError(f"--bits 16 needs png or tif, got --format {args.format}")
    if args.scale is not None and args.task not in (None, "sr"):
        raise ValueError(f"--scale is for --task sr, got --task {args.task}")
    if "/" in args.suffix or "\\" in args.suffix:
        raise ValueError(f"--suffix is a part of a name, got {args.suffix!r}")
    if args.task == "inpaint" and args.mask is None:
        raise ValueError("--task inpaint needs --mask: a picture in which white is filled, or a folder of them")
    for option in ("mask", "kernel"):
        given = getattr(args, option)
        if given is not None and not given.exists():
            raise ValueError(f"--{option} {given}: there is no such file or folder")
    if args.kernel is not None and args.task not in (None, "deblur"):
        raise ValueError(f"--kernel is for --task deblur, got --task {args.task}")
    if args.kernel is not None and (args.mode == "sample" or args.fidelity not in (None, 1.0) or args.samples > 1):
        raise ValueError("--kernel has one answer: leave out --mode sample, --fidelity and --samples")
    if args.noise is not None and (args.kernel is None or not 0 <= args.noise <= 255):
        raise ValueError(f"--noise is from 0 to 255, beside --kernel; got {args.noise:g}")


def _at_least(args: argparse.Namespace, **least: Any) -> None:
    for name, low in least.items():
        value = getattr(args, name)
        if value is not None and value < low:
            raise ValueError(f"--{name} is at least {low}, got {value}")
