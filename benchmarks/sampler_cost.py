"""What a sampler costs beside its net: CPU time, operations and memory per step, with diffusers and the floor in turn.

The net is free (it returns one tensor). A step's time is the slope between runs of 20 and of 60 steps, the least of
several, taken in turn with the peers'; the floor is mul_ and one add_ per element of history, over the state.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fewstep.core import paths, solvers
from fewstep.core.sample import sample
from fewstep.core.times import uniform
from fewstep.core.types import Solver

SHAPES = {"1x3x32x32": (1, 3, 32, 32), "64x3x64x64": (64, 3, 64, 64)}
SOLVERS: dict[str, tuple[Solver, int]] = {
    "dpmpp_2m": (solvers.dpmpp_2m(), 5),
    "multistep(3)": (solvers.multistep(3), 5),
    "multistep(3, trig, corrector)": (solvers.multistep(3, "trig", corrector=True), 9),
}
"""Solver, and how many operations a step may take."""

_SAME = {
    "dpmpp_2m": ("diffusers DPM++ 2M", "k-diffusion dpmpp_2m"),
    "multistep(3)": ("diffusers DPM++ 3M",),
    "multistep(3, trig, corrector)": ("diffusers UniPC-3",),
}
"""The peer's sampler of the same order and memory."""

FEW, MANY = 20, 60
_PATH = paths.vp_linear()
Run = Callable[[int], Any]


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Time, operations and memory of each solver on a small and a large state, on one thread.

    Parameters
    ----------
    quick
        Fewer repetitions.

    Returns
    -------
    list of dict
        In the harness's format.
    """
    found = []
    with _one_thread():
        for name, shape in SHAPES.items():
            repeats = (6 if quick else 25) * (1 if name.startswith("64") else 3)
            found += _times(name, shape, repeats)
        for label, (solver, most) in SOLVERS.items():
            found += _counts(label, solver, most)
        found += [_build(label, solver, 10 if quick else 50) for label, (solver, _) in SOLVERS.items()]
    return found


def _times(name: str, shape: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    runs: dict[str, Run] = {label: _ours(solver, shape) for label, (solver, _) in SOLVERS.items()}
    runs |= {f"floor {depth}": _floor(depth, shape) for depth in (2, 3, 4)}
    peers = _peers(shape)
    runs |= peers
    slopes, wholes = _slopes(runs, repeats)
    small, found = shape[0] == 1, []
    for label, (solver, _) in SOLVERS.items():
        depth, value = _depth(solver), slopes[label]
        part = None if small else 1.5
        floor = slopes[f"floor {depth}"]
        found.append(_row(f"{label}, {name}", "CPU us per step", value, "in-place floor", floor, part, FEW))
        for peer in [peer for peer in peers if peer in _SAME[label]]:
            share = None if peer.startswith("k-") else 1 / 8 if small else 1 / 5
            found.append(_row(f"{label}, {name}", "CPU us per step", value, peer, slopes[peer], share, FEW))
            metric = "CPU us of a whole run of 20 steps"
            found.append(_row(f"{label}, {name}", metric, wholes[label], peer, wholes[peer]))
    return found


def _slopes(runs: dict[str, Run], repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Microseconds per step, and of a run of `FEW` steps: the least of runs taken in turn."""
    least = {(label, n): float("inf") for label in runs for n in (FEW, MANY)}
    for _ in range(repeats + 1):
        for label, run in runs.items():
            run(FEW)  # what ran before has the caches
            for n in (FEW, MANY):
                begin = time.process_time()
                run(n)
                least[label, n] = min(least[label, n], 1e6 * (time.process_time() - begin))
    return (
        {label: (least[label, MANY] - least[label, FEW]) / (MANY - FEW) for label in runs},
        {label: least[label, FEW] for label in runs},
    )


def _depth(solver: Solver) -> int:
    return solver.tableau(_PATH, uniform(_PATH, FEW)).history.shape[1]


def _ours(solver: Solver, shape: tuple[int, ...]) -> Run:
    tables = {n: solver.tableau(_PATH, uniform(_PATH, n)) for n in (FEW, MANY)}
    x, answer = torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.full(shape, 0.3)
    return lambda n: sample(lambda x, t: answer, _PATH, solver=tables[n], x=x, generator=0)


def _floor(depth: int, shape: tuple[int, ...]) -> Run:
    u, elements = torch.ones(shape), [torch.full(shape, 0.3) for _ in range(depth)]

    def run(n: int) -> None:
        with torch.inference_mode():
            for _ in range(n):
                u.mul_(0.7)
                for element in elements:
                    u.add_(element, alpha=0.1)

    return run


def _peers(shape: tuple[int, ...]) -> dict[str, Run]:
    found: dict[str, Run] = {}
    x, answer = torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.full(shape, 0.3)
    try:
        from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
    except ImportError:
        pass
    else:
        schedulers = {
            "diffusers DPM++ 2M": DPMSolverMultistepScheduler(solver_order=2),
            "diffusers DPM++ 3M": DPMSolverMultistepScheduler(solver_order=3),
            "diffusers UniPC-3": UniPCMultistepScheduler(solver_order=3),
        }
        found |= {label: _stepped(scheduler, x, answer) for label, scheduler in schedulers.items()}
    try:
        from k_diffusion.sampling import get_sigmas_karras, sample_dpmpp_2m
    except Exception:  # its own imports fail in many ways
        return found
    sigmas = {n: get_sigmas_karras(n, 0.03, 80.0) for n in (FEW, MANY)}
    found["k-diffusion dpmpp_2m"] = lambda n: sample_dpmpp_2m(lambda x, sigma: answer, x, sigmas[n], disable=True)
    return found


def _stepped(scheduler: Any, x: Tensor, answer: Tensor) -> Run:
    def run(n: int) -> Tensor:
        with torch.inference_mode():
            scheduler.set_timesteps(n)
            state = x
            for t in scheduler.timesteps:
                state = scheduler.step(answer, t, state).prev_sample
            return state

    return run


class Costs(TorchDispatchMode):
    """Counts operations, and new memory in units of a state."""

    def __init__(self, state: Tensor):
        super().__init__()
        self.size, self.operations, self.allocated = state.nbytes, 0, 0.0
        self._known, self._kept = {state.untyped_storage().data_ptr()}, [state]

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and note what it made; what it made is kept, so that no address comes twice."""
        out = function(*args, **(kwargs or {}))
        self.operations += not function.is_view
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes() >= self.size:
                address = tensor.untyped_storage().data_ptr()
                if address not in self._known:
                    self._known.add(address)
                    self._kept.append(tensor)
                    self.allocated += tensor.untyped_storage().nbytes() / self.size
        return out


def _counts(label: str, solver: Solver, most: int) -> list[dict[str, Any]]:
    shape = (2, 3, 64, 64)
    few, many = (_counted(_ours(solver, shape), n, shape) for n in (FEW, MANY))
    name = _SAME[label][0]
    peer = _peers(shape).get(name)
    theirs = None if peer is None else tuple(_counted(peer, n, shape) for n in (FEW, MANY))

    def per_step(what: str, pair: Any) -> float:
        return (getattr(pair[1], what) - getattr(pair[0], what)) / (MANY - FEW)

    found = []
    for metric, what, target in (
        ("tensor operations per step", "operations", most),
        ("states allocated per step", "allocated", 0),
    ):
        value, other = per_step(what, (few, many)), None if theirs is None else per_step(what, theirs)
        row = _row(label, metric, value, name, other)
        found.append(row | {"target": target, "ok": value <= target})
    states = _row(label, "states of memory beside the net's", few.allocated, "history + 1", float(_depth(solver) + 1))
    return [*found, states | {"target": _depth(solver) + 1, "ok": few.allocated <= _depth(solver) + 1}]


def _counted(run: Run, n: int, shape: tuple[int, ...]) -> Costs:
    with Costs(torch.empty(shape)) as costs:
        run(n)
    return costs


def _build(label: str, solver: Solver, repeats: int) -> dict[str, Any]:
    grid, least = uniform(_PATH, FEW), float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        solver.tableau(_PATH, grid)
        least = min(least, 1e6 * (time.process_time() - begin))
    row = _row(label, "CPU us to build the table of 20 steps", least, None, None)
    return row | {"target": 1000.0, "ok": least <= 1000}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _row(
    row: str,
    metric: str,
    value: float,
    peer: str | None,
    peer_value: float | None,
    share: float | None = None,
    steps: int = FEW,
) -> dict[str, Any]:
    target = None if share is None or peer_value is None else share * peer_value
    return {
        "row": row,
        "metric": metric,
        "value": float(value),
        "peer": peer,
        "peer_value": peer_value,
        "target": target,
        "ok": None if target is None else value <= target,
        "steps": steps,
        "nfe": steps,
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
        "seed": 0,
    }
