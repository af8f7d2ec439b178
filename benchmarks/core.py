"""The core is one: measured order of convergence of every solver on every path, and what the loop costs.

Orders are measured on Gaussian data against the exact solution (`fewstep.core.solvers.gaussian`), in mean and variance
for solvers that draw noise. Multistep solvers above second order start with small steps, because their first steps are
of lower order.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewstep.core import paths, solvers
from fewstep.core.sample import sample
from fewstep.core.solvers.registry import REGISTRY, Entry, measured_order
from fewstep.core.times import uniform

PATHS: dict[str, Callable[[], paths.AffinePath]] = {
    "vp_linear": paths.vp_linear,
    "vp_cosine": paths.vp_cosine,
    "vp_table": lambda: paths.vp_table(torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)),
    "ve": paths.ve,
    "edm": paths.edm,
    "rectified_flow": paths.rectified_flow,
    "rectified_flow, shift 3": lambda: paths.rectified_flow(3.0),
    "ou": paths.ou,
    "ir_sde": paths.ir_sde,
    "resshift": paths.resshift,
    "resshift, 4 steps": lambda: paths.resshift(n_steps=4, min_noise=0.2),
    "brownian_bridge": paths.brownian_bridge,
    "sb_ve": paths.sb_ve,
}
"""Every process, by name."""


SOLVERS: dict[str, Entry] = {
    name: REGISTRY[name]
    for name in (
        "ddim",
        "ddim, eta 0.5",
        "ddpm",
        "sde_euler",
        "resshift",
        "dpmpp_2m",
        "dpmpp_2m, taylor",
        "sde_dpmpp_2m, taylor",
        "dpmpp_2s",
        "heun",
        "heun, lambda",
        "heun, trig",
        "dpm_solver 2",
        "deis 2, rho",
        "trig 2",
        "dpmpp_3m",
        "dpm_solver 3",
        "deis 3, rho",
        "trig 3",
        "unipc 2",
        "unipc 3",
        "trig 3 corrected",
    )
}
"""What is measured on every path, by name: one solver of each kind."""

BRIDGES = ("brownian_bridge", "sb_ve")


def rows(
    *, quick: bool = False, data: Path | None = None, progress: Callable[[str], None] | None = None
) -> list[dict[str, Any]]:
    """Orders of convergence, at least 0.95 of the nominal one; then the cost of the loop.

    Parameters
    ----------
    quick
        Fewer repetitions of the timing.
    data
        Not read: the data are Gaussian.
    progress
        Told the name of each solver.

    Returns
    -------
    list of dict
        One row per solver and path, and one for the loop.
    """
    found = []
    for label in SOLVERS:
        if progress is not None:
            progress(label)
        found += [_order_row(label, name) for name in PATHS if name not in BRIDGES or not SOLVERS[label].falling]
    return [*found, _loop_row(5 if quick else 50)]


def plots(rows: list[dict[str, Any]], out: Path) -> None:
    """Measured over nominal order as a picture, solvers down and paths across: ``core.png``."""
    from matplotlib.figure import Figure

    ratio = {row["row"]: row["value"] / row["peer_value"] for row in rows if row["peer"] == "nominal"}
    grid = [[ratio.get(f"{solver} on {path}", float("nan")) for path in PATHS] for solver in SOLVERS]
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(grid, vmin=0.9, vmax=1.1, cmap="coolwarm")
    axes.set_xticks(range(len(PATHS)), PATHS, rotation=60, ha="right")
    axes.set_yticks(range(len(SOLVERS)), SOLVERS)
    axes.set_title("measured / nominal order of convergence")
    figure.colorbar(image)
    figure.savefig(Path(out) / "core.png", dpi=120)


def _order_row(label: str, path: str) -> dict[str, Any]:
    entry = SOLVERS[label]
    value, target = measured_order(entry, PATHS[path]()), 0.95 * entry.order
    steps, ok = entry.steps[1], value >= target
    return _row(f"{label} on {path}", "order of convergence", value, "nominal", entry.order, target, ok, steps)


def _loop_row(repeats: int, steps: int = 20) -> dict[str, Any]:
    path, x = paths.vp_linear(), torch.zeros(1, 3, 32, 32)
    grid, answer = uniform(path, steps), torch.ones(1, 3, 32, 32)
    table = solvers.dpmpp_2m().tableau(path, grid)

    def by_hand() -> Tensor:
        u = x.clone()
        for state, (now, before) in zip(table.state.tolist(), table.history.tolist(), strict=True):
            u.mul_(state).add_(answer, alpha=now).add_(answer, alpha=before)
        return u

    ours = _microseconds(lambda: sample(lambda x, t: answer, path, solver=table, x=x, generator=0), repeats) / steps
    floor = _microseconds(by_hand, repeats) / steps
    return _row("loop of dpmpp_2m, [1, 3, 32, 32]", "us per step", ours, "three in-place ops", floor, None, None, steps)


def _microseconds(function: Callable[[], Any], repeats: int) -> float:
    function()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


def _row(row, metric, value, peer, peer_value, target, ok, steps) -> dict[str, Any]:
    return {
        "row": row,
        "metric": metric,
        "value": value,
        "peer": peer,
        "peer_value": peer_value,
        "target": target,
        "ok": ok,
        "steps": steps,
        "nfe": steps * (2 if row.startswith(("heun", "dpmpp_2s")) else 1),
        "dtype": "float64" if metric == "order of convergence" else "float32",
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "seed": 0,
    }
