"""`fewstep enhance`, and its part of `fewstep demo`. Light to import: torch comes in when a command runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUMMARY = {"enhance": "clean a recording: fewstep enhance noisy.wav -o clean.wav"}


def enhance(argv: Sequence[str]) -> int:
    """`fewstep enhance`: recordings and folders of recordings in, clean ones out.

    Parameters
    ----------
    argv : sequence of str
        See `fewstep enhance --help`.

    Returns
    -------
    int
        0; 1 if some recordings failed (each named on stderr, the rest is done).

    Raises
    ------
    ValueError, OSError
        For wrong usage, before anything is written.
    """
    args = _parser().parse_args(list(argv))
    _check(args)
    from fewstep.audio.enhance.batch import Batch, find_jobs

    jobs = find_jobs(args.inputs, args.output, suffix=args.format)
    return Batch(_enhancer(args), _options(args), resume=args.resume, as_json=args.json).run(jobs)


def demo(out: Path) -> dict:
    """Spoil a spoken sentence with noise in `out/noisy.wav`, clean it into `out/cleaned.wav` and draw both."""
    from fewstep.audio.enhance.demonstration import demonstrate

    return demonstrate(out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewstep enhance",
        description="Take noise or reverberation out of speech. Reads what libsndfile reads (wav, flac, ogg, opus, "
        "mp3, ...) at any rate, with any number of channels and of any length, in constant memory.",
        epilog="A folder's recordings keep their names and sub-folders; those that are done are not done again. The "
        "input is never overwritten.",
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help="recordings, folders, or - for standard input")
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="a file for one recording, a folder for more, - for wav on standard output")  # fmt: skip
    parser.add_argument("--task", default="denoise", choices=("denoise", "dereverb"), help="default: denoise")
    parser.add_argument("--model", help="a name that ships, a folder or a hub id (default: what ships for the task)")
    parser.add_argument("--steps", type=int, help="steps of the diffusion; 0: the predictive net alone (default: the "
                        "model's own)")  # fmt: skip
    parser.add_argument("--strength", type=float, default=1.0, help="0 changes nothing, 1 is all (default: 1)")
    parser.add_argument("--keep-rate", action="store_true",
                        help="write at the input's rate, with the band above the model's as it was (default: write at "
                        "the model's rate)")  # fmt: skip
    parser.add_argument("--format", metavar="SUFFIX", help="of a folder's outputs: wav, flac, ogg, opus, mp3 (default: "
                        "as the input if it is one of these, else wav)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal audio (default: 0)")
    parser.add_argument("--chunk", type=float, default=16.0, metavar="SECONDS", help="computed at once (default: 16)")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True,
                        help="leave out outputs that exist and are newer than their input (default: yes)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per recording")
    return parser


def _check(args: argparse.Namespace) -> None:
    """What can be told without torch."""
    if not 0 <= args.strength <= 1:
        raise ValueError(f"--strength is a number from 0 to 1, got {args.strength}")
    if args.steps is not None and not 0 <= args.steps <= 1000:
        raise ValueError(f"--steps is a whole number from 0 to 1000, got {args.steps}")
    if args.seed < 0:
        raise ValueError(f"--seed is at least 0, got {args.seed}")
    if not args.chunk >= 0.5:
        raise ValueError(f"--chunk is at least 0.5 seconds, got {args.chunk}")
    if args.threads is not None and args.threads < 1:
        raise ValueError(f"--threads is at least 1, got {args.threads}")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    names = ("steps", "strength", "keep_rate", "seed")
    return {name: getattr(args, name) for name in names} | {"chunk_seconds": args.chunk}


def _enhancer(args: argparse.Namespace) -> Any:
    import torch

    from fewstep.audio.enhance.api import Enhancer

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    try:
        device = torch.device(args.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {args.device} cannot be used here ({str(error).splitlines()[0]})") from error
    return Enhancer.load(args.model, task=args.task, device=device)
