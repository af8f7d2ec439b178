"""Caches: error and CPU time of each, against taking fewer steps in the same time and against diffusers and cache-dit.

The error is the median over starts of the relative l2 distance to the same solver's full run of 50 steps. Without
diffusers only the nets that ship with fewstep are judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from fewstep.benchmarks import _cache_nets
from fewstep.benchmarks._cache_nets import STEPS, Job, error
from fewstep.benchmarks._cache_peers import peers
from fewstep.core import caches
from fewstep.core.caches import Cache, Every
from fewstep.core.errors import UsageError

BUDGETS = (0.67, 0.5, 0.4, 0.33, 0.28)
"""Shares of a run's FLOPs: 1.5 to 3.5 times as fast."""
COUNTS = {25: 0.0212, 20: 0.0309, 16: 0.0436}
"""Computed rows of the sensitivity-weighted programme on the transformer, and the error measured before."""
BRANCH, BRANCH_ERROR = (2, 5), 0.0106
"""U-Net branch and interval, and the error measured before."""
SAVED = 0.85

Rows = Iterator[dict[str, Any]]


def rows(*, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Every cache on each net, 50 steps of a first-order solver.

    Parameters
    ----------
    quick
        Fewer training steps, starts, budgets and peers, and one net; no verdict to rely on.
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
        found = []
        for job, kind in _jobs(quick, tell):
            if quick:
                job.seeds, job.others = job.seeds[:1], (0,)
            found += list(judged(job, kind, quick=quick, tell=tell))
        return found
    finally:
        torch.set_num_threads(threads)


def judged(job: Job, kind: str, *, quick: bool, tell: Callable[[str], None]) -> Rows:
    """All rows of one net."""
    tell(f"{job.name}: the full run")
    reference, full, flops = job.measured()
    known: dict[str, tuple[float, float]] = {}

    def tried(name: str, cache: Any) -> Rows:
        tell(f"{job.name}: {name}")
        with caches.attach(job.net, cache, times=job.grid(STEPS)):
            x, seconds, work = job.measured()
        known[name] = (seconds / full, error(x, reference))
        yield from _rows(job, name, known[name], work / flops, reference)

    tuned = []
    for name, cache in _tuned(job, kind, quick, tell):
        yield from tried(name, cache)
        tuned.append(known[name])
        if kind == "transformer":
            saved = (1 - known[name][0]) / max(1 - _share(job, cache, flops), 1e-9)
            yield _row(job, name, "time saved / FLOPs saved", saved, "", None, (SAVED, saved >= SAVED))
    for name, cache in _published(job, kind, quick):
        yield from tried(name, cache)
    if kind == "tokens":
        yield from _of_tokens(job, reference, full, flops, tell)
    if kind == "transformer":
        yield from _against_peers(job, reference, full, flops, tuned, quick, tell)
    yield from _references(job, kind, known)


def _jobs(quick: bool, tell: Callable[[str], None]) -> Iterator[tuple[Job, str]]:
    try:
        from fewstep.audio.torchaudio_import import load

        load()  # diffusers imports it, and its wheel does not load beside every torch
        import diffusers  # noqa: F401
    except ImportError:
        tell("diffusers is not there: its transformer and U-Net are left out")
    else:
        yield _cache_nets.transformer(iterations=30 if quick else 434, progress=tell), "transformer"
        if not quick:
            yield _cache_nets.unet(progress=tell), "U-Net"
        if quick:
            return
    yield _cache_nets.shipped(), "U-Net"
    if not quick:
        yield _cache_nets.own(progress=tell), "tokens"


def _tuned(job: Job, kind: str, quick: bool, tell: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
    """The recommended cache for each budget, and the plain programme beside it."""
    times, scopes = job.grid(STEPS), _scopes(job, kind, quick)
    profiles = {}
    for scope in scopes:
        tell(f"{job.name}: profile of {scope.describe()}")
        profiles[scope] = caches.profile(job.net, job.calibration, scope=scope, times=times)
    reference = job.calibration()
    for budget in (0.5,) if quick else BUDGETS:
        found = []
        for scope, measured in profiles.items():
            with contextlib.suppress(UsageError):
                count = caches.rows_within(
                    job.net, job.calibration, scope=scope, budget=budget, unit="flops", times=times
                )
                found.append(caches.pick(job.net, job.calibration, measured, scope=scope, budget=count, times=times))
        if found:
            errors = [error(_ended(job, cache), reference) for cache in found]
            yield f"tuned, {budget:.0%} of the FLOPs", found[errors.index(min(errors))]
    if kind == "transformer":
        for count in () if quick else COUNTS:
            schedule = caches.segments(profiles[scopes[0]].cost, count)
            yield f"programme, {count} of {STEPS}", Cache(scopes[0], schedule)


def _ended(job: Job, cache: Cache) -> torch.Tensor:
    with caches.attach(job.net, cache, times=job.grid(STEPS)):
        return job.calibration()


def _scopes(job: Job, kind: str, quick: bool) -> list[Any]:
    if kind == "U-Net":
        return [caches.branch(level) for level in range(1 if quick else 4)]
    return [caches.span("transformer_blocks" if kind == "transformer" else "blocks")]


def _published(job: Job, kind: str, quick: bool) -> Iterator[tuple[str, Any]]:
    if kind == "U-Net":
        yield f"DeepCache branch {BRANCH[0]}, every {BRANCH[1]}", caches.deepcache(BRANCH[0], every=BRANCH[1])
        if quick:
            return
        yield "DeepCache branch 0, every 2", caches.deepcache(0, every=2)
        yield "DeepCache branch 0, every 3", caches.deepcache(0, every=3)
        yield "DeepCache, 10 rows around 5", caches.deepcache(0, schedule=caches.centred(STEPS, 10, center=5))
        yield "Faster Diffusion", caches.faster_diffusion(STEPS)
        yield (
            "CacheQuant, branch 1, 20 of 50",
            caches.cachequant(job.net, job.calibration, scope=caches.branch(1), count=20, times=job.grid(STEPS)),
        )
        return
    times = job.grid(STEPS)
    if kind == "tokens":
        found = caches.ecad(job.net, job.calibration, r"blocks\.\d+", times=times, population=12, generations=8)
        yield (
            "ECAD, best within half of the calls",
            min(found, key=lambda each: (each.cost > 0.5, each.error)).caches,
        )
        return
    blocks = "transformer_blocks"
    yield "every 3, newton 1", caches.taylor(order=1, every=3, scope=caches.span(blocks))
    yield "first block, 0.1", caches.first_block(blocks, 0.1)
    yield "confidence-gated Taylor, 0.05", caches.cg_taylor(blocks, 0.05)
    if quick:
        return
    parts, depth = r"\.\d+\.(attn1|ff)", 10
    yield "every 3, reuse", Cache(blocks, Every(3))
    yield "Δ-DiT, 3 of 4 blocks, every 3", caches.delta_dit(blocks, cached=depth * 3 // 4, every=3, switch=STEPS // 2)
    yield "TaylorSeer, every 3", caches.taylorseer(blocks + parts, every=3)
    yield "SADA, step-wise", caches.sada()
    yield "ERTACache, 0.1, the plain grid", caches.ertacache(job.net, job.calibration, times=times, threshold=0.1)[0]
    yield "BAC, 20 of 50", caches.bac(job.net, job.calibration, blocks + parts, count=20, times=times)
    yield (
        "ProfilingDiT, half the blocks, every 4",
        caches.profiling_dit(job.net, job.calibration, blocks, cached=depth // 2, times=times),
    )


def _of_tokens(job: Job, reference: torch.Tensor, full: float, flops: float, tell: Callable[[str], None]) -> Rows:
    """Half of the tokens in most rows; no cache is attached, the net itself leaves them out."""
    for name, urgency in {"RAS, half of the tokens": "region", "SADA token-wise, half": "stability"}.items():
        tell(f"{job.name}: {name}")
        net = caches.TokenCache(job.net, ratio=0.5, urgency=urgency, dense=range(0, STEPS, 10))  # type: ignore[arg-type]
        x, seconds, work = job.measured(net=net)
        yield from _rows(job, name, (seconds / full, error(x, reference)), work / flops, reference)


def _against_peers(
    job: Job,
    reference: torch.Tensor,
    full: float,
    flops: float,
    tuned: list[tuple[float, float]],
    quick: bool,
    tell: Callable[[str], None],
) -> Rows:
    """Peers as they are, and the best of our tuned caches that takes no longer than each."""
    for name, peer in peers(quick=quick).items():
        tell(f"{job.name}: {name}")
        with peer(job.net, lambda net: job.draw(net=net)) as net:
            x, seconds, work = job.measured(net=net)
        theirs = (seconds / full, error(x, reference))
        yield from _rows(job, name, theirs, work / flops, reference)
        fast = [wrong for share, wrong in tuned if share <= theirs[0]]
        if fast and theirs[1] > 0:
            target = (None, None) if quick else (theirs[1], min(fast) <= theirs[1])
            yield _row(job, f"tuned, no slower than {name}", "relative error", min(fast), name, theirs[1], target)


def _references(job: Job, kind: str, known: dict[str, tuple[float, float]]) -> Rows:
    wanted = {f"programme, {count} of {STEPS}": value for count, value in COUNTS.items() if kind == "transformer"}
    if job.name == "U-Net":
        wanted = {f"DeepCache branch {BRANCH[0]}, every {BRANCH[1]}": BRANCH_ERROR}
    for name, value in wanted.items():
        if name in known:
            got = known[name][1]
            yield _row(
                job, name, "relative error, against an earlier measurement", got, "", value, (value, got <= value)
            )


def _share(job: Job, cache: Any, flops: float) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with caches.attach(job.net, cache, times=job.grid(STEPS)), FlopCounterMode(display=False) as counter:
        job.draw()
    return float(counter.get_total_flops()) / flops


def _rows(job: Job, name: str, found: tuple[float, float], work: float, reference: torch.Tensor) -> Rows:
    share, wrong = found
    steps, least = job.at_equal_time(share, reference)
    target = (least, wrong < least) if name.startswith("tuned") else (None, None)
    yield _row(job, name, "relative error", wrong, f"{steps} steps, uncached", least, target)
    yield _row(job, name, "CPU time", share, "uncached", 1.0, (None, None))
    yield _row(job, name, "FLOPs", work, "uncached", 1.0, (None, None))


def _row(
    job: Job, name: str, metric: str, value: float, peer: str, peer_value: float | None, target: tuple[Any, Any]
) -> dict[str, Any]:
    return {
        "row": f"{job.name}: {name}",
        "metric": metric,
        "value": value,
        "peer": peer,
        "peer_value": peer_value,
        "target": target[0],
        "ok": target[1],
        "steps": STEPS,
        "nfe": STEPS,
        "dtype": "float32",
        "seed": job.seeds[0],
    }
