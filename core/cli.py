"""`fewstep`: finds the command, runs it, and turns a user's mistake into one line and exit code 2.

A room adds a command through the entry-point group `fewstep.commands` (name -> `module:function`): the function takes
the list of arguments and returns the exit code, and its module, light to import, describes it in a dict `SUMMARY`.
Exit codes: 0 done, 1 some items failed (each named), 2 usage.
"""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata

from fewstep.core.build import did_you_mean
from fewstep.core.memory import keep_freed

BUILT_IN = {
    "fit": "train a model: fewstep fit experiment=NAME [key=value ...]",
    "validate": "measure a trained model on its validation data",
    "test": "measure a trained model on its test data",
    "predict": "write a trained model's output for a data set",
    "check": "list every mistake in a config before anything is built",
    "models": "list the models that ship, or show the card of one",
    "cache": "tune a cache for a model: less work in the same number of steps",
    "bench": "run a benchmark: table, JSON and plots",
    "demo": "show what every package does, in one folder",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Arguments without the program's name; None takes them from the command line.

    Returns
    -------
    int
        Exit code: 0 done, 1 some items failed, 2 usage, 130 and 143 when stopped by Ctrl-C and SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"fewstep {metadata.version('fewstep')}")
        return 0
    name, *rest = arguments
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads cost 10x on busy cores
    keep_freed()
    try:
        return _command(name)(rest)
    except SystemExit as stop:
        return _stopped(stop)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError) as error:
        if os.environ.get("FEWSTEP_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        print(f"fewstep {name}: {error}", file=sys.stderr)
        return 2


def _command(name: str) -> Callable[[list[str]], int]:
    if name in BUILT_IN:
        return getattr(importlib.import_module("fewstep.core.commands"), name)
    rooms = _rooms()
    if name not in rooms:
        known = [*BUILT_IN, *rooms]
        raise ValueError(f"no such command{did_you_mean(name, known)} (one of {', '.join(known)})")
    return rooms[name].load()


def _rooms() -> dict[str, metadata.EntryPoint]:
    points = metadata.entry_points(group="fewstep.commands")
    return {point.name: point for point in sorted(points, key=lambda point: point.name)}


def _help() -> str:
    rows = {name: _summary(point) for name, point in _rooms().items()} | BUILT_IN
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in rows.items()]
    return "\n".join(["usage: fewstep COMMAND ...   (fewstep COMMAND --help for one of them)", "", *lines])


def _summary(point: metadata.EntryPoint) -> str:
    try:
        return importlib.import_module(point.module).SUMMARY[point.name]
    except Exception as error:  # one broken package must not take the help away
        return f"(cannot be loaded: {type(error).__name__}: {error})"


def _stopped(stop: SystemExit) -> int:
    """The exit code of a command that left early; Lightning leaves with a code of None on SIGTERM."""
    if type(stop).__name__ == "SIGTERMException":
        return 128 + signal.SIGTERM
    if isinstance(stop.code, str):
        print(stop.code, file=sys.stderr)
        return 2
    return stop.code or 0


if __name__ == "__main__":
    sys.exit(main())
