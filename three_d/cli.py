"""`fewstep shape`, and a part of `fewstep demo`. Light: torch is imported when one runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

SUMMARY = {"shape": 'make a 3D shape of words or a picture: fewstep shape "a tall red chair" -o chair.glb'}
FORMATS = ("glb", "obj", "ply", "stl")


def shape(argv: Sequence[str]) -> int:
    """`fewstep shape`: words or a picture in, meshes out.

    Parameters
    ----------
    argv : sequence of str
        See `fewstep shape --help`.

    Returns
    -------
    int
        0; 1 if some shapes failed (each named on stderr, the rest is done).

    Raises
    ------
    ValueError, OSError
        For wrong usage, before anything is written.
    """
    args = _parser().parse_args(list(argv))
    _check(args)
    from fewstep.three_d.jobs import shape_all

    return shape_all(args)


def demo(out: Path) -> dict:
    """Make shapes of words and of a picture, and say how well.

    Parameters
    ----------
    out : Path
        Folder of the demonstration.

    Returns
    -------
    dict
        Files and figures.
    """
    from fewstep.three_d.demonstration import demonstrate

    return demonstrate(out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewstep shape",
        description="Make watertight, coloured 3D shapes of words, of a picture, or of both, in a few network calls. "
        "Kinds: chair, table, lamp, mug, plane, house, bench, shelf, bottle, car.",
        epilog="GLB, OBJ and PLY are in metres with y up; STL, for printers, in millimetres with z up. Several shapes "
        "go into a folder, or get numbers: chair-1.glb, chair-2.glb.",
    )
    add = parser.add_argument
    add("prompts", nargs="*", metavar="PROMPT", help='such as "a tall red chair with four white legs"')
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="a .glb, .obj, .ply or .stl file, or a folder")
    add("--prompts", dest="file", metavar="FILE", help="one prompt a line; - is standard input")
    add("--image", type=Path, metavar="FILE", help="one object, cut out or before a plain background")
    add("--num", type=int, default=1, metavar="N", help="shapes for each prompt, of seeds that count up (default: 1)")
    add("--seed", type=int, default=0, help="equal seeds give equal shapes (default: 0)")
    add("--steps", type=int, metavar="N", help="of each of the two stages (default: the model's)")
    add("--guidance-scale", type=float, metavar="W", help="of a teacher; 1 is off (default: the model's)")
    add(
        "--temperature",
        type=float,
        metavar="T",
        help="of the noise: less is cleaner and varies less (default: the model's)",
    )
    add("--model", help="a name that ships, a folder or a hub id (default: shapes-mdt)")
    add("--size", type=float, metavar="METRES", help="of the longest side (default: about 0.9)")
    add("--format", metavar="LIST", help="some of glb,obj,ply,stl (default: as OUT ends, else glb)")
    add("--simplify", type=int, metavar="FACES", help="at most so many faces")
    add("--smooth", type=int, metavar="ROUNDS", help="of smoothing that keeps the volume (default: 5; 0 is off)")
    add(
        "--share",
        type=float,
        metavar="PART",
        help="drop loose parts of less of the volume and fill hollows (default: 0.02; 0 keeps all)",
    )
    add("--bridge", type=float, metavar="PART", help="join parts across gaps up to this of the side (default: 0.27)")
    add("--png", type=Path, metavar="FILE", help="a picture; of several shapes, all on one sheet")
    add("--turntable", type=Path, metavar="FILE", help="a turn around it: .gif, .mp4 or .webp")
    add("--html", type=Path, metavar="FILE", help="a page with all of them to turn, zoom and download")
    add("--gaussians", type=Path, metavar="FILE", help="Gaussians for splatting viewers, .ply")
    add("--skip-existing", action="store_true", help="leave out shapes whose files are there")
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    add("--json", action="store_true", help="print one JSON object per shape")
    return parser


def _check(args: argparse.Namespace) -> None:
    """Options that can be wrong, before anything heavy is imported."""
    for name, low in (("num", 1), ("seed", 0), ("steps", 1), ("simplify", 4), ("smooth", 0), ("threads", 1)):
        value = getattr(args, name)
        if value is not None and value < low:
            raise ValueError(f"--{name} is at least {low}, got {value}")
    if args.size is not None and not 0 < args.size < float("inf"):
        raise ValueError(f"--size is a positive number of metres, got {args.size}")
    if args.share is not None and not 0 <= args.share <= 1:
        raise ValueError(f"--share is from 0 to 1, got {args.share}")
    if args.bridge is not None and not 0 <= args.bridge < float("inf"):
        raise ValueError(f"--bridge is at least 0, got {args.bridge}")
    if args.guidance_scale is not None and not abs(args.guidance_scale) < float("inf"):
        raise ValueError(f"--guidance-scale is a finite number, got {args.guidance_scale}")
    if args.temperature is not None and not 0 <= args.temperature < float("inf"):
        raise ValueError(f"--temperature is at least 0, got {args.temperature}")
    wanted = [part.strip().lower().lstrip(".") for part in (args.format or "").split(",") if part.strip()]
    if args.format is not None and (not wanted or set(wanted) - set(FORMATS)):
        raise ValueError(f"--format is some of {','.join(FORMATS)}, got {args.format!r}")
    args.format = list(dict.fromkeys(wanted))
    if args.prompts and args.file is not None:
        raise ValueError("give prompts or --prompts FILE, not both")
    if not args.prompts and args.file is None and args.image is None:
        raise ValueError('say what to make: a prompt, such as "a red chair", --prompts FILE, or --image FILE')
    if args.image is not None and not args.image.is_file():
        raise ValueError(f"--image {args.image}: there is no such file")
