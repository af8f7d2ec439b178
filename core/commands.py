"""The commands that belong to no room; each imports what it needs when it is called."""

import argparse
import importlib
import json
import sys
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


def cache(arguments: list[str]) -> int:
    """`fewstep cache tune MODEL`: search a schedule of what to leave out, and keep it beside the weights.

    Parameters
    ----------
    arguments
        ``["tune", MODEL, ...]``, see ``fewstep cache tune --help``.

    Returns
    -------
    int
        0; 1 if fewer steps of the same solver end nearer in the same time.

    Raises
    ------
    UsageError
        If there is no such model, its kind cannot be cached, or the budget cannot be kept.
    """
    parser = argparse.ArgumentParser(prog="fewstep cache", description="Leave work out inside a net, by a schedule.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="tune MODEL")
    tuning = actions.add_parser(
        "tune",
        help="search a schedule and write it beside the weights",
        description="Measure on a few samples what may be left out at which step, search the best schedule within the "
        "budget, write it, and say how it does on other noise against simply taking fewer steps.",
    )
    tuning.add_argument("model", help="a name that ships, a folder, or a hub id")
    tuning.add_argument("--steps", type=int, default=50, help="of the runs to be cached (default: 50)")
    tuning.add_argument("--budget", type=float, default=0.5, help="how much of a run may be spent (default: 0.5)")
    tuning.add_argument(
        "--unit",
        choices=("time", "flops", "calls", "ms"),
        default="flops",
        help="of the budget: a share of time, FLOPs or computed steps, or milliseconds per run (default: flops)",
    )
    tuning.add_argument("--samples", type=int, default=4, help="drawn at once (default: 4)")
    tuning.add_argument("--shape", help="of one sample where the model does not say, such as 3,32,32")
    tuning.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: tuned-STEPS.cache.json beside them")
    chosen = parser.parse_args(arguments)
    return _tune_cache(chosen)


def bench(arguments: list[str]) -> int:
    """`fewstep bench [NAME]`: run a benchmark, or list them.

    Parameters
    ----------
    arguments
        ``NAME --quick --resume --json FILE --data DIR --out DIR``.

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
    parser.add_argument("--resume", action="store_true", help="go on where a run into the same file was stopped")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows go (default: OUT/NAME.json)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="real data (default: what ships)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("bench"), help="default: bench")
    chosen = parser.parse_args(arguments)
    if chosen.name is None:
        print("\n".join(f"{name}\t{summary}" for name, summary in harness.available().items()))
        return 0
    options = {"quick": chosen.quick, "data": chosen.data, "out": chosen.out, "json_file": chosen.json}
    rows = harness.run(chosen.name, **options, resume=chosen.resume)
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


def _tune_cache(chosen: argparse.Namespace) -> int:
    from fewstep.core import hub
    from fewstep.core.caches.job import tune_job, tuned_file
    from fewstep.core.errors import UsageError

    folder = hub.resolve(chosen.model)
    kind = hub.read_config(folder)["kind"]
    kinds = {point.name: point for point in metadata.entry_points(group="fewstep.cache_jobs")}
    if kind not in kinds:
        raise UsageError(
            f"{chosen.model} is of kind {kind!r}, which has no caches: expected {', '.join(sorted(kinds))}"
        )
    if chosen.steps < 2 or chosen.samples < 1:
        raise UsageError(f"expected --steps >= 2 and --samples >= 1, got {chosen.steps} and {chosen.samples}")
    options: dict[str, Any] = {"samples": chosen.samples}
    if chosen.shape:
        options["shape"] = [int(part) for part in chosen.shape.split(",")]
    job, file = kinds[kind].load()(folder, **options), chosen.output or tuned_file(folder, chosen.steps)
    budget = int(chosen.budget) if chosen.unit == "calls" and chosen.budget >= 1 else chosen.budget
    found = tune_job(job, steps=chosen.steps, budget=budget, unit=chosen.unit, file=file, tell=_say)
    rows = len(found.computed)
    print(f"{file}: {found.cache.places.describe()}, computed at {rows} of {chosen.steps} steps")
    print(
        f"on other noise: error {found.error:.4f} in {found.cost:.2f} of the time; "
        f"{found.fewer} steps without a cache: {found.fewer_error:.4f}"
    )
    if not found.pays:
        _say("fewer steps end nearer in the same time: do not use this cache")
    return 0 if found.pays else 1


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _run(command: str, arguments: list[str]) -> int:
    chosen = _job_parser(command).parse_args(arguments)
    from fewstep.core.config import compose_config, plain

    job = plain(compose_config(command, chosen.overrides, config_dir=chosen.config_dir))
    importlib.import_module("fewstep.core.lit.run").run(command, job)
    return 0
