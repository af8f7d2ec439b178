"""Distillation recipes on a problem whose answer is known: six Gaussians in the plane, an analytic teacher.

Every recipe has the same student (a perceptron of 3 x 96), the same start (the teacher copied by regression), batch,
optimiser and number of iterations. Pair error: root mean square of the difference to the exact end point of the same
noise; sliced W2: distance of laws. Recipes that match laws only are not asked for pairs. With `data` the rows of
`distill_photos` and `distill_voice` follow.
"""

from __future__ import annotations

import copy
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.benchmarks import _mixture as mixture
from fewstep.benchmarks import distill_photos as photos
from fewstep.benchmarks import distill_voice as voice
from fewstep.core import sample, solvers, times
from fewstep.core.distill import mdt
from fewstep.core.distill.adversarial import Adversarial
from fewstep.core.distill.beside import PairJudge, VelocityRefiner
from fewstep.core.distill.consistency import Consistency, ConsistencyTraining, bounded
from fewstep.core.distill.ctm import ConsistencyTrajectory
from fewstep.core.distill.distance import mse
from fewstep.core.distill.distribution import DistributionMatching
from fewstep.core.distill.informed import Informed, Told, telling
from fewstep.core.distill.mmd import MomentMatching, gaussian
from fewstep.core.distill.progressive import Progressive
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.distill.refiner import Refined, Refinement
from fewstep.core.distill.reflow import PairDistillation, Reflow
from fewstep.core.distill.relay import Relay, Turn
from fewstep.core.distill.segment import heun
from fewstep.core.distill.tdm import TrajectoryMatching
from fewstep.core.distill.unrolled import Unrolled
from fewstep.core.types import Denoise

PATH = mixture.PATH
SIGMA_DATA = (mixture.RADIUS**2 / 2 + mixture.STD**2) ** 0.5
ITERATIONS, BATCH, EVALUATED, PAIRS = 3000, 512, 16384, 32768
WORKERS = 2


class Velocity(nn.Module):
    """A perceptron of (x, t), three hidden layers of 96, read as a velocity: x0 = x − t v."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [2 + 9, 96, 96, 96]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(96, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """[n, 2], scalar or [n] -> x0_hat [n, 2]."""
        t = t.to(x.dtype).expand(len(x))[:, None]
        phase = t * torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=x.dtype)
        return x - t * self.layers(torch.cat([x, t, phase.sin(), phase.cos()], dim=1))


@dataclass(frozen=True)
class Entry:
    """How a row of the table is trained and read.

    `rounds`: (share of the iterations, recipe); the teacher of a later round is the student of the one before if
    `relay`. `read` makes the sampler's denoiser from the net; `beside` is the discriminator or the refiner.
    """

    rounds: tuple[tuple[float, Any], ...]
    steps: int = 1
    relay: bool = False
    preserves: bool = True
    read: Callable[[Any], Denoise] = lambda denoise: denoise
    target: tuple[float, float] | None = None
    beside: Callable[[], nn.Module] | None = None
    solver: Any = field(default_factory=solvers.ddim)


def entries(iterations: int = ITERATIONS) -> dict[str, Entry]:
    """The table's rows, with the reference figures that they are held to (pair error, sliced W2)."""
    halves = (16, 8, 4, 2, 1)
    return {
        "consistency": Entry(
            ((1.0, Consistency(SIGMA_DATA, steps=6, step=partial(heun, sigma_data=SIGMA_DATA), distance=mse)),),
            read=lambda denoise: bounded(denoise, PATH, sigma_data=SIGMA_DATA),
            target=(0.131, 0.066),
        ),
        "consistency training": Entry(
            ((1.0, ConsistencyTraining(SIGMA_DATA, total=iterations, first=6, last=48)),),
            read=lambda denoise: bounded(denoise, PATH, sigma_data=SIGMA_DATA),
        ),
        "consistency trajectory": Entry(
            ((1.0, ConsistencyTrajectory(SIGMA_DATA, steps=6, leaps=2, step=partial(heun, sigma_data=SIGMA_DATA))),),
            read=lambda net: told(net, Told(end=True)),
        ),
        "progressive, 32 to 1": Entry(
            tuple((1 / len(halves), Progressive(n)) for n in halves), relay=True, target=(0.143, 0.068)
        ),
        "reflow": Entry(((1.0, Reflow()),), target=(0.161, 0.084)),
        "reflow, then pairs": Entry(((0.5, Reflow()), (0.5, PairDistillation())), target=(0.086, 0.048)),
        "pairs": Entry(((1.0, PairDistillation()),)),
        "velocity matching": Entry(((1.0, mdt.MarginalData(distillation=0.0)),), target=(0.469, 0.379)),
        "velocity matching and distillation": Entry(((1.0, mdt.MarginalData()),), target=(0.369, 0.256)),
        "velocity matching, l2-normalised": Entry(((1.0, mdt.MarginalData(distillation=0.0, normalise=mdt.l2)),)),
        "unrolled pairs, 2 steps": Entry(((1.0, Unrolled(2, distance=mse, recompute=False)),), steps=2),
        "refiner after 1 call, 4 steps": Entry(
            ((1.0, Refinement(reach=0.5)),),
            steps=4,
            beside=partial(VelocityRefiner, 2, dims=0, width=96),
            read=lambda net: Refined(nn.Identity(), net).reading(mixture.teacher, PATH),
        ),
        "distribution matching": Entry(((1.0, DistributionMatching()),), preserves=False, target=(0.350, 0.078)),
        "distribution matching, the way back": Entry(
            ((1.0, Relay(snapshots=2, degrade=max(1, iterations // 15) * 2, every=max(1, iterations // 15))),),
            preserves=False,
        ),
        "denoising GAN, 4 steps": Entry(
            ((1.0, Adversarial(4)),),
            steps=4,
            preserves=False,
            beside=partial(PairJudge, 2, dims=0, width=96),
            read=lambda net: told(net, Told(latent=8), latent=torch.Generator().manual_seed(2)),
            solver=solvers.ddpm(),
        ),
        "trajectory matching, 4 steps": Entry(((1.0, TrajectoryMatching(4)),), steps=4, preserves=False),
        "moment matching, 4 steps": Entry(
            ((1.0, MomentMatching(4, kernel=gaussian, recompute=False)),),
            steps=4,
            preserves=False,
            target=(0.144, 0.051),
        ),
    }


def told(net: Informed, what: Told, *, latent: torch.Generator | None = None) -> Denoise:
    """How a student that is told more than its time is sampled: in one step to the data, or with fresh latents."""
    draw = None if latent is None else (lambda x: torch.randn(len(x), what.latent, generator=latent))
    return telling(net, what, PATH, lambda net: net, latent=draw)


def rows(*, quick: bool = False, data: Path | None = None, progress: Callable[[str], None] | None = None) -> list[dict]:
    """The table of the benchmark."""
    seeds, iterations = ((0,), ITERATIONS // 10) if quick else ((0, 1, 2), ITERATIONS)
    judge = Judge.make()
    start = copied_teacher(iterations)
    table = []
    for n in (1, 4, 16):
        table += judge.rows(f"teacher, {n} steps", [mixture.teacher], n, None, 0.0, 0, seeds=(0,), judged=True)
    table += judge.rows("copy, 1 step", [start], 1, None, 0.0, iterations, seeds=(0,), judged=True)
    jobs = [(start, name, iterations, seed) for name in entries(iterations) for seed in seeds]
    found = _in_turn(jobs) if quick else _in_parallel(jobs)
    for name, entry in entries(iterations).items():
        students, spent = [], []
        for _ in seeds:
            net, seconds = next(found)
            students.append(entry.read(net))
            spent.append(seconds)
        target = None if quick else entry.target
        mean = statistics.fmean(spent)
        table += judge.rows(
            name, students, entry.steps, target, mean, iterations, seeds, judged=entry.preserves, solver=entry.solver
        )
        if progress:
            figures = [f"{row['metric']} {row['value']:.4g}" for row in table if row["row"] == name]
            progress(f"{name}: {', '.join(figures)}")
    if data is not None and not quick:
        table += photos.rows(quick=quick, data=data, progress=progress)
        table += voice.rows(quick=quick, data=data, progress=progress)
    return table


@dataclass(frozen=True)
class Judge:
    """Noise, where the exact flow carries it, and data."""

    z: Tensor
    ends: Tensor
    data: Tensor

    @classmethod
    def make(cls) -> Judge:
        """The same for every row."""
        generator = torch.Generator().manual_seed(1)
        z = torch.randn(EVALUATED, 2, generator=generator)
        return cls(z, mixture.exact_map(z), mixture.data(EVALUATED, generator))

    @torch.no_grad()
    def measure(self, denoise: Denoise, steps: int, solver: Any) -> tuple[float, float]:
        """(pair error, sliced W2) of a sampler of even steps."""
        x = sample(denoise, PATH, times=times.uniform(PATH, steps), solver=solver, x=self.z, generator=3).x
        return float((x - self.ends).square().mean().sqrt()), mixture.sliced_wasserstein(x, self.data)

    def rows(
        self,
        name: str,
        denoisers: list,
        steps: int,
        target: tuple[float, float] | None,
        seconds: float,
        iterations: int,
        seeds: tuple[int, ...],
        *,
        judged: bool,
        solver: Any = None,
    ) -> list[dict]:
        """Mean and spread over the seeds, and the cost."""
        measured = [self.measure(denoise, steps, solver or solvers.ddim()) for denoise in denoisers]
        common = {
            "row": name,
            "peer": None,
            "peer_value": None,
            "target": None,
            "ok": None,
            "steps": steps,
            "nfe": steps,
            "dtype": "float32",
            "device": "cpu",
            "seed": seeds[0],
        }
        out = []
        for k, metric in enumerate(("pair RMSE", "sliced W2")):
            values = [m[k] for m in measured]
            bound = target[k] if target and (judged or k == 1) else None
            value = statistics.fmean(values)
            out.append(common | {"metric": metric, "value": value, "target": bound, "ok": _met(value, bound)})
            if len(values) > 1:
                out.append(common | {"metric": f"{metric}, spread", "value": max(values) - min(values)})
        if seconds:
            out.append(common | {"metric": f"CPU seconds for {iterations} iterations", "value": seconds})
        return out


def _met(value: float, bound: float | None) -> bool | None:
    return None if bound is None else value <= bound


def copied_teacher(iterations: int) -> Velocity:
    """The student's start: the teacher's answers regressed at random times."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Velocity()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for i in range(iterations):
        items = Items(mixture.data(BATCH, generator))
        t = items.uniform(generator, PATH.t_min, PATH.t_max)
        x = PATH.sample(items.x0, items.noise(generator), t)
        loss = ((net(x, t) - mixture.teacher(x, t)) / t[:, None].clamp(min=0.05)).square().mean()
        _descend(optimizer, loss, 2e-3, i, iterations)
    return net


Job = tuple[nn.Module, str, int, int]


def _in_turn(jobs: list[Job]) -> Iterator[tuple[nn.Module, float]]:
    """The students and their CPU seconds, in the order of the jobs."""
    for job in jobs:
        values, seconds = _work(job)
        yield _filled(job, values), seconds


def _in_parallel(jobs: list[Job]) -> Iterator[tuple[nn.Module, float]]:
    """The same from processes of one thread each."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for job, (values, seconds) in zip(jobs, pool.map(_work, jobs), strict=True):
            yield _filled(job, values), seconds


def _work(job: Job) -> tuple[dict[str, Any], float]:
    start, name, iterations, seed = job
    begun = time.process_time()
    net = train(start, entries(iterations)[name], iterations, seed)
    return {key: value.numpy() for key, value in net.state_dict().items()}, time.process_time() - begun


def _filled(job: Job, values: dict[str, Any]) -> nn.Module:
    start, name, iterations, seed = job
    entry = entries(iterations)[name]
    student, beside = _prepared(start, entry, seed)
    net = beside if any(hasattr(recipe, "refines") for _, recipe in entry.rounds) else student
    net.load_state_dict(  # type: ignore[union-attr]
        {key: torch.from_numpy(value) for key, value in values.items()}
    )
    return net  # type: ignore[return-value]


def _prepared(start: nn.Module, entry: Entry, seed: int) -> tuple[nn.Module, nn.Module | None]:
    """A student as it begins, and what stands beside it."""
    student: nn.Module = copy.deepcopy(start)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        beside = entry.beside() if entry.beside else None
        what: Told | None = getattr(entry.rounds[0][1], "told", None)
        return (student if what is None else Informed(student, inputs=what.inputs)), beside


def train(start: nn.Module, entry: Entry, iterations: int, seed: int) -> nn.Module:
    """The averaged student after its rounds."""
    teacher: Denoise = mixture.teacher
    student, beside = _prepared(start, entry, seed)
    for share, recipe in entry.rounds:
        student = _round(student, teacher, recipe, int(share * iterations), seed, beside)
        if entry.relay:
            teacher = copy.deepcopy(student)
    return student


def _round(
    start: nn.Module, teacher: Denoise, recipe: Any, iterations: int, seed: int, beside: nn.Module | None
) -> nn.Module:
    refines = hasattr(recipe, "refines")
    student, target, average = (copy.deepcopy(beside if refines else start) for _ in range(3))
    other = copy.deepcopy(start) if hasattr(recipe, "fake_loss") else None if refines else beside
    loss_of = getattr(recipe, "fake_loss", None) or getattr(recipe, "judge_loss", None)
    rate = 5e-4 if other else 2e-3
    optimizer = torch.optim.Adam(student.parameters(), rate, betas=(0.0 if other else 0.9, 0.99))
    of_other = torch.optim.Adam(other.parameters(), 2e-3, betas=(0.0, 0.99)) if other else None
    generator = torch.Generator().manual_seed(seed + 10)
    kept, snapshots = _pairs(seed) if recipe.pairs else None, {}
    for i in range(iterations):
        turn = recipe.turn(i) if hasattr(recipe, "turn") else Turn()
        goal = teacher if turn.target is None else snapshots[turn.target]
        nets = _nets(student, target, goal, other, recipe)
        if of_other is not None:
            for _ in range(1 if isinstance(recipe, Adversarial) else 2):
                loss = loss_of(nets, PATH, _items(None, generator, i), generator).mean()
                _descend(of_other, loss, 2e-3, i, iterations)
        if turn.keep is not None:
            snapshots[turn.keep] = copy.deepcopy(other)
        if turn.learns:
            loss = recipe.loss(nets, PATH, _items(kept, generator, i), generator).mean()
            _descend(optimizer, loss, rate, i, iterations)
        _follow(target, student, 0.0 if isinstance(recipe, ConsistencyTraining) else 0.95)
        _follow(average, student, 0.99)
    return average


def _nets(student: Any, target: Any, teacher: Denoise, other: Any, recipe: Any) -> Nets:
    """The nets as the recipe asks them."""
    if hasattr(recipe, "refines"):
        return Nets(teacher, teacher, teacher, refine=student)
    what = getattr(recipe, "told", None)
    if what is not None:
        student, target = (telling(net, what, PATH, lambda net: net) for net in (student, target))
    judged = hasattr(recipe, "judge_loss")
    return Nets(student, target, teacher, None if judged else other, other if judged else None)


def _items(kept: tuple[Tensor, Tensor] | None, generator: torch.Generator, iteration: int) -> Items:
    if kept is None:
        return Items(mixture.data(BATCH, generator), iteration=iteration)
    index = torch.randint(len(kept[0]), (BATCH,), generator=generator)
    return Items(kept[1][index], eps=kept[0][index])


def _pairs(seed: int, steps: int = 32) -> tuple[Tensor, Tensor]:
    z = torch.randn(PAIRS, 2, generator=torch.Generator().manual_seed(seed + 100))
    grid = times.uniform(PATH, steps)
    return z, sample(
        mixture.teacher, PATH, times=grid, solver=solvers.multistep(2, "trig", sigma_data=SIGMA_DATA), x=z
    ).x


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float, i: int, total: int) -> None:
    optimizer.param_groups[0]["lr"] = rate * min(1.0, (i + 1) / 50) * max(0.02, 1 - i / total)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def _follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    for mine, theirs in zip(average.parameters(), net.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)
