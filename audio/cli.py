"""`fewstep tts`, and the speech part of `fewstep demo`. Light to import: torch comes in when a command runs."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

SUMMARY = {"tts": 'speak a text: fewstep tts "Hello there." -o hello.wav'}
DEMO_TEXT = "Hello! This sentence took two network calls, and no graphics card."


def tts(argv: Sequence[str]) -> int:
    """`fewstep tts`: text in, wav files out.

    Parameters
    ----------
    argv : sequence of str
        See `fewstep tts --help`.

    Returns
    -------
    int
        0; 1 if some lines failed (each named on stderr).

    Raises
    ------
    ValueError, OSError
        For wrong usage, before anything is written.
    """
    args = _parser().parse_args(list(argv))
    texts, one_by_one = _texts(args)
    if args.play:
        _player()
    _require_writable(args.output, one_by_one)
    voice = _voice(args)
    if one_by_one:
        return _speak_lines(voice, texts, args)
    _report(args.output, voice(texts[0], **_options(args)), args)
    return 0


def demo(out: Path) -> dict:
    """Say one sentence into `out/hello.wav` and draw its spectrogram into `out/hello.png`."""
    from fewstep.audio.api import TextToSpeech
    from fewstep.audio.plot import save_spectrogram

    speech = TextToSpeech.load()(DEMO_TEXT, seed=0)
    speech.save(out / "hello.wav")
    save_spectrogram(out / "hello.png", speech)
    return {
        "wav": str(out / "hello.wav"),
        "picture": str(out / "hello.png"),
        "network calls": speech.nfe,
        "seconds of speech": round(speech.seconds, 2),
        "real-time factor": round(speech.real_time_factor, 3),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewstep tts",
        description="Speak English text. With --file and an output that does not end in .wav, every line becomes one "
        "file of that folder; files that exist are never overwritten there.",
        epilog="Phones can be given inline: fewstep tts 'My name is [[ S AH0 K IY1 N AH0 ]].' -o out.wav",
    )
    parser.add_argument("text", nargs="?", help="what to say")
    parser.add_argument("--file", metavar="FILE", help="read the text from a file; - is standard input")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a .wav file or a folder")
    parser.add_argument("--steps", type=int, help="network calls per sentence (default: the voice's own, 2)")
    parser.add_argument("--cache", choices=("tuned",), help="leave out what `fewstep cache tune` found for --steps")
    parser.add_argument("--voice", default="kathleen-prodiff", help="a name that ships, a folder or a hub id")
    parser.add_argument("--vocoder", help="likewise, or griffin-lim (default: the voice's own)")
    parser.add_argument("--speed", type=float, default=1.0, help="0.25 to 4; 2 is twice as fast (default: 1)")
    parser.add_argument("--pitch", type=float, default=0.0, metavar="SEMITONES", help="-12 to 12 (default: 0)")
    parser.add_argument("--energy", type=float, default=0.0, metavar="DB", help="vocal effort, -12 to 12 (default: 0)")
    parser.add_argument(
        "--pause", type=float, default=0.25, metavar="SECONDS", help="between sentences (default: 0.25)"
    )
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal audio (default: 0)")
    parser.add_argument("--lexicon", metavar="FILE", help="pronunciations of your own words: WORD PH ON EZ, one a line")
    parser.add_argument("--front-end", default="builtin", choices=("builtin", "espeak", "gruut"), help="who pronounces")
    parser.add_argument("--play", action="store_true", help="play each file once it is written")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per file, with word timings")
    return parser


def _texts(args: argparse.Namespace) -> tuple[list[str], bool]:
    """One document, or lines that become a file each (True)."""
    if (args.text is None) == (args.file is None):
        raise ValueError("give either a text or --file FILE (- for standard input)")
    if args.text is not None:
        if args.output.suffix.lower() != ".wav":
            raise ValueError(f"-o wants a .wav file for one text, got {args.output}")
        return [args.text], False
    content = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    try:
        document = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{args.file} is not UTF-8 text ({error})") from error
    if not document.strip():
        raise ValueError(f"{'standard input' if args.file == '-' else args.file} holds no text")
    if args.output.suffix.lower() == ".wav":
        return [document], False
    return [line.strip() for line in document.splitlines() if line.strip()], True


def _require_writable(output: Path, is_folder: bool) -> None:
    folder = output if is_folder else output.parent
    if is_folder and output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file: -o wants a folder for --file, or a name that ends in .wav")
    if not is_folder and output.is_dir():
        raise ValueError(f"{output} is a folder: -o wants a .wav file here")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write to {folder}: {error}") from error
    if not os.access(folder, os.W_OK):
        raise OSError(f"cannot write to {folder}: no permission")


def _voice(args: argparse.Namespace):
    import torch

    from fewstep.audio.api import TextToSpeech
    from fewstep.audio.text.lexicon import Lexicon

    if args.threads is not None:
        if args.threads < 1:
            raise ValueError(f"--threads is at least 1, got {args.threads}")
        torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    try:
        device = torch.device(args.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {args.device} cannot be used here ({str(error).splitlines()[0]})") from error
    lexicon = Lexicon(Path(args.lexicon)) if args.lexicon else None
    return TextToSpeech.load(
        args.voice, vocoder=args.vocoder, device=device, lexicon=lexicon, backend=args.front_end, cache=args.cache
    )


def _options(args: argparse.Namespace) -> dict:
    names = ("steps", "seed", "speed", "pitch", "energy", "pause")
    return {name: getattr(args, name) for name in names}


def _speak_lines(voice, lines: list[str], args: argparse.Namespace) -> int:
    from fewstep.audio.text.frontend import EmptyText

    failed, known = 0, set[str]()
    for number, (line, file) in enumerate(zip(lines, _free_names(args.output, lines), strict=False), start=1):
        try:
            speech = voice(line, **_options(args))
        except EmptyText as error:
            failed += 1
            print(f"line {number} skipped: {error}", file=sys.stderr)
            continue
        _report(file, speech, args, known)
    if failed:
        print(f"{failed} of {len(lines)} lines failed", file=sys.stderr)
    return 1 if failed else 0


def _free_names(folder: Path, lines: list[str]) -> Iterator[Path]:
    """`0001-first-words.wav`, ..., never one that exists."""
    for number, line in enumerate(lines, start=1):
        words = "".join(c if c.isascii() and c.isalnum() else " " for c in line.lower()).split()
        stem = "-".join([f"{number:04d}", *words[:5]])[:60]
        file, copy = folder / f"{stem}.wav", 2
        while file.exists():
            file, copy = folder / f"{stem}-{copy}.wav", copy + 1
        yield file


def _player() -> list[str]:
    """A program of this machine that plays a wav file."""
    for command in (["ffplay", "-nodisp", "-autoexit", "-loglevel", "error"], ["aplay", "-q"], ["paplay"], ["afplay"]):
        if shutil.which(command[0]):
            return command
    raise ValueError("--play needs ffplay, aplay, paplay or afplay, and none is installed")


def _report(file: Path, speech, args: argparse.Namespace, known: set[str] | None = None) -> None:
    """Write one file and tell about it; characters in `known` were named before and are not named again."""
    speech.save(file)
    if args.play:
        subprocess.run([*_player(), str(file)], check=False)
    known = set() if known is None else known
    if new := [c for c in speech.unknown if c not in known]:
        print(f"skipped characters: {' '.join(map(repr, new))}", file=sys.stderr)
        known.update(new)
    acoustic = speech.acoustic_seconds / speech.seconds
    facts = {
        "file": str(file),
        "seconds": round(speech.seconds, 3),
        "steps": speech.steps,
        "nfe": speech.nfe,
        "seed": speech.seed,
        "real_time_factor": round(speech.real_time_factor, 4),
        "real_time_factor_without_vocoder": round(acoustic, 4),
    }
    if args.json:
        words = [{"word": w, "start": a, "end": b} for w, a, b in speech.words]
        print(json.dumps(facts | {"unknown": speech.unknown, "guessed": speech.guessed, "words": words}))
        return
    print(
        f"{file}: {speech.seconds:.2f} s, {speech.nfe} network calls a sentence, real-time factor "
        f"{speech.real_time_factor:.3f} ({acoustic:.3f} without the vocoder)"
    )
