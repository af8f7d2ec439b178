"""Caches: error and CPU time of each on a small trained transformer, against taking fewer steps at equal cost.

The error is the median over starts of the relative l2 distance to the same solver's full run. The peer of every row is
the uncached net with as many steps as fit in the cached run's CPU time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any

import torch
from torch import Tensor

from fewstep.benchmarks import _shapes
from fewstep.core import caches, guide, parameterize, paths, sample, solvers, times
from fewstep.core.caches import Cache, Every

STEPS, GUIDANCE = 50, 2.0
PATH = paths.rectified_flow()


@dataclass(frozen=True)
class Job:
    """A net to be sampled from the same starts again and again."""

    net: _shapes.DiT
    seeds: tuple[int, ...]
    repeats: int = 3

    def draw(self, steps: int = STEPS) -> Tensor:
        """[item, 1, SIZE, SIZE] after Euler steps with guidance."""
        label = torch.arange(len(self.seeds)) % _shapes.LABELS
        cond, none = (
            parameterize.flow(self.net, PATH, cond=told) for told in (label, torch.full_like(label, _shapes.LABELS))
        )
        return sample(
            guide.cfg(cond, none, GUIDANCE),
            PATH,
            times=times.uniform(PATH, steps),
            solver=solvers.ddim(),
            shape=(len(self.seeds), 1, _shapes.SIZE, _shapes.SIZE),
            seeds=self.seeds,
        ).x

    def timed(self, steps: int = STEPS, cache: Any = None) -> tuple[Tensor, float, str]:
        """The sample, its CPU seconds and what the cache reports."""
        spent, said = [], ""
        with ExitStack() as stack:
            if cache is not None:
                grid = times.uniform(PATH, steps)
                attached = stack.enter_context(caches.attach(self.net, cache, times=grid))
            for _ in range(self.repeats):
                begin = process_time()
                x = self.draw(steps)
                spent.append(process_time() - begin)
            said = str(attached.report) if cache is not None else ""
        return x, median(spent), said


def rows(*, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Every cache on the shapes' transformer, 50 Euler steps, guidance 2.

    Parameters
    ----------
    quick
        Fewer training steps, starts, budgets and repeats.
    progress
        Told what is being done.

    Returns
    -------
    list of dict
        In the format of `fewstep.core.bench`.
    """
    tell = progress or (lambda message: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = _shapes.trained(150 if quick else 1500, progress=tell)
        return list(judged(net, quick=quick, tell=tell))
    finally:
        torch.set_num_threads(threads)


def judged(net: _shapes.DiT, *, quick: bool, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Two rows per cache: its error beside fewer steps', and the CPU time that it takes."""
    seeds = range(100, 102 if quick else 108)
    job = Job(net, tuple(seeds), 1 if quick else 3)
    reference, full, _ = job.timed()
    fewer = {steps: job.draw(steps) for steps in range(5, STEPS)}
    for name, cache in _caches(net, quick, tell):
        tell(name)
        x, seconds, said = job.timed(cache=cache)
        steps = min(max(round(STEPS * seconds / full), 5), STEPS - 1)
        tell(f"  {said}")
        yield _row(name, "relative error", error(x, reference), f"{steps} Euler steps", error(fewer[steps], reference))
        yield _row(name, "CPU time", seconds / full, "uncached", 1.0)


def error(x: Tensor, reference: Tensor) -> float:
    """Median over items of the relative l2 distance."""
    distance = (x - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)
    return float(distance.median())


def _caches(net: _shapes.DiT, quick: bool, tell: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
    grid, scope = times.uniform(PATH, STEPS), caches.span("blocks")
    calibration = Job(net, (0, 1) if quick else (0, 1, 2, 3))
    tell("profile")
    profile = caches.profile(net, calibration.draw, scope=scope, times=grid)
    for count in (25, 10) if quick else (33, 25, 20, 16, 12, 10):
        yield (
            f"tuned, {count} of {STEPS}",
            caches.pick(net, calibration.draw, profile, scope=scope, budget=count, times=grid),
        )
        yield f"programme, {count} of {STEPS}, reuse", Cache(scope, caches.segments(profile.cost, count))
    for interval in (2,) if quick else (2, 3, 5):
        yield f"every {interval}, reuse", Cache(scope, Every(interval))
        yield f"every {interval}, newton 1", caches.taylor(order=1, every=interval, scope=scope)
    for threshold in (0.1,) if quick else (0.05, 0.1, 0.2):
        yield f"first block, {threshold}", caches.first_block("blocks", threshold)
        yield f"confidence-gated Taylor, {threshold / 2}", caches.cg_taylor("blocks", threshold / 2)
    yield "Δ-DiT, 6 of 8 blocks, every 3", caches.delta_dit("blocks", cached=6, every=3, switch=STEPS // 2)
    yield "TaylorSeer, feed-forward, every 3", caches.taylorseer(r"blocks\.\d+\.mlp", every=3)
    yield "SADA, step-wise", caches.sada()


def _row(name: str, metric: str, value: float, peer: str, peer_value: float) -> dict[str, Any]:
    tuned = name.startswith("tuned") and metric == "relative error"
    return {
        "row": name,
        "metric": metric,
        "value": value,
        "peer": peer,
        "peer_value": peer_value,
        "target": "below fewer steps" if tuned else "",
        "ok": value < peer_value if tuned else None,
        "steps": STEPS,
        "nfe": 2 * STEPS,
        "dtype": "float32",
        "seed": 100,
    }
