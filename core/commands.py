"""The commands that belong to no room; each imports what it needs when it is called."""

import argparse
import importlib
import json
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any


def fit(arguments: list[str]) -> int:
    """`fewstep fit`: train, from the beginning or from a checkpoint.

    Parameters
    ----------
    arguments
        Overrides and ``--config-dir``; likewise for `validate`, `test` and `predict`.

    Returns
    -------
    int
        0.

    Raises
    ------
    ConfigError
        With every mistake of the config.
    """
    return _run("fit", arguments)


def validate(arguments: list[str]) -> int:
    """`fewstep validate`: metrics on the validation data (see `fit`)."""
    return _run("validate", arguments)


def test(arguments: list[str]) -> int:
    """`fewstep test`: metrics on the test data (see `fit`)."""
    return _run("test", arguments)


def predict(arguments: list[str]) -> int:
    """`fewstep predict`: outputs on disk (see `fit`)."""
    return _run("predict", arguments)


def check(arguments: list[str]) -> int:
    """`fewstep check`: all mistakes of a config.

    Parameters
    ----------
    arguments
        Overrides, ``--config-dir`` and ``--command``, whose main config is checked.

    Returns
    -------
    int
        0 if there are none.

    Raises
    ------
    ConfigError
        With every mistake of the config.
    """
    from fewstep.core.config import COMMANDS, compose_config, plain

    parser = _job_parser("check")
    parser.add_argument("--command", choices=COMMANDS, default="fit", help="which main config (default: fit)")
    chosen = parser.parse_args(arguments)
    plain(compose_config(chosen.command, chosen.overrides, config_dir=chosen.config_dir))
    print("no mistakes found")
    return 0


def models(arguments: list[str]) -> int:
    """`fewstep models list | info NAME`: what ships, and the card of one model.

    Parameters
    ----------
    arguments
        ``["list"]`` or ``["info", name]``.

    Returns
    -------
    int
        0.

    Raises
    ------
    UsageError
        If no model has that name.
    """
    from fewstep.core import hub

    parser = argparse.ArgumentParser(prog="fewstep models", description="The models that ship with the package.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | info NAME")
    actions.add_parser("list", help="names and kinds")
    actions.add_parser("info", help="the card of one model").add_argument("name")
    chosen = parser.parse_args(arguments)
    if chosen.action == "info":
        print(hub.card(chosen.name))
    else:
        print("\n".join(f"{name}\t{kind}" for name, kind in hub.shipped()) or "no models ship with this build")
    return 0


def bench(arguments: list[str]) -> int:
    """`fewstep bench [NAME]`: run a benchmark, or list them.

    Parameters
    ----------
    arguments
        ``NAME --quick --json FILE --data DIR --out DIR``.

    Returns
    -------
    int
        0 if all rows with a target meet it, 1 otherwise.

    Raises
    ------
    UsageError
        If no benchmark has that name or one gives a row that is not as agreed.
    """
    from fewstep.core import bench as harness

    parser = argparse.ArgumentParser(prog="fewstep bench", description="Run a benchmark; without a name, list them.")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows go (default: OUT/NAME.json)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="real data (default: what ships)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("bench"), help="default: bench")
    chosen = parser.parse_args(arguments)
    if chosen.name is None:
        print("\n".join(f"{name}\t{summary}" for name, summary in harness.available().items()))
        return 0
    rows = harness.run(chosen.name, quick=chosen.quick, data=chosen.data, out=chosen.out, json_file=chosen.json)
    print(harness.markdown(rows))
    return 1 if any(row["ok"] is False for row in rows) else 0


def demo(arguments: list[str]) -> int:
    """`fewstep demo`: every room's demonstration, from the entry-point group `fewstep.demos`.

    Parameters
    ----------
    arguments
        ``--out DIR``. Each demonstration is a function of that folder and returns a dict of results.

    Returns
    -------
    int
        0, or 1 if a demonstration failed.
    """
    parser = argparse.ArgumentParser(prog="fewstep demo", description="Run every package's demonstration.")
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    points = sorted(metadata.entry_points(group="fewstep.demos"), key=lambda point: point.name)
    results = {point.name: _demonstrate(point, out) for point in points}
    (out / "demo.json").write_text(json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8")
    return 1 if any("error" in result for result in results.values()) else 0


def _demonstrate(point: metadata.EntryPoint, out: Path) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        result = dict(point.load()(out))
    except Exception as error:  # the other rooms still show theirs
        traceback.print_exc()
        result = {"error": f"{type(error).__name__}: {error}"}
    result["seconds"] = round(time.perf_counter() - start, 2)
    print(f"{point.name}: " + ", ".join(f"{key} {value}" for key, value in result.items()))
    return result


def _job_parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"fewstep {command}", description=f"Overrides are group=choice or dotted.key=value; {_EXAMPLE}"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAML, laid out as ours")
    return parser


_EXAMPLE = "for example: experiment=core/toy trainer.max_steps=100 ckpt=last"


def _run(command: str, arguments: list[str]) -> int:
    chosen = _job_parser(command).parse_args(arguments)
    from fewstep.core.config import compose_config, plain

    job = plain(compose_config(command, chosen.overrides, config_dir=chosen.config_dir))
    importlib.import_module("fewstep.core.lit.run").run(command, job)
    return 0
