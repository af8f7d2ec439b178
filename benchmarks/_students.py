"""Students that a benchmark trains by `fewstep fit`, or finds in `runs`, with what they cost."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from fewstep.core.commands import fit


def trained(name: str, jobs: Sequence[Sequence[str]], *, runs: str | Path = "runs") -> tuple[Path, dict[str, float]]:
    """The last job's export, and iterations and CPU seconds of all.

    Parameters
    ----------
    name
        Of the run's folder; the jobs before the last are in ``<name>-1``, ``<name>-2``, ...
    jobs
        Overrides of one fit each, with ``trainer.max_steps``; a later one has the export before it as teacher.
    runs
        Where runs are. A whole run there is taken as it is.
    """
    runs = Path(runs)
    last, record = runs / name / "export", runs / name / "cost.json"
    if record.is_file() and last.is_dir():
        return last, json.loads(record.read_text())
    begun, teacher = time.process_time(), None
    for number, job in enumerate(jobs, 1):
        run = name if number == len(jobs) else f"{name}-{number}"
        shutil.rmtree(runs / run, ignore_errors=True)
        more = [] if teacher is None else [f"teacher={teacher}"]
        fit([f"name={run}", f"runs={runs}", "threads=1", "logger=none", *job, *more])
        teacher = runs / run / "export"
    iterations = sum(int(o.split("=")[1]) for job in jobs for o in job if o.startswith("trainer.max_steps="))
    cost = {"iterations": float(iterations), "CPU seconds of training": time.process_time() - begun}
    record.write_text(json.dumps(cost))
    return last, cost
