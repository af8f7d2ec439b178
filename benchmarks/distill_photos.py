"""Distillation of a small image net: students of one, two and four steps against their teacher at as many and at fifty.

The teacher ships (`photos32`: 32 x 32 crops of photographs); the students are trained by ``fewstep fit`` into
`runs/photos-NAME`, or read from there. Distances are to as many held-out crops: sliced Wasserstein in pixels, and
Fréchet on features of a net of random weights. `data` is a folder of pictures, or one with images/kodak in it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fewstep.benchmarks import _laws
from fewstep.benchmarks._students import trained
from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.lit.crops import crop, read_pictures
from fewstep.core.pretrained import Pretrained

TEACHER = "photos32"
SEEDS, COUNT, BATCH = (0, 1), 2048, 64
DISTILL = "fewstep.core.distill"
METRICS = {"sliced W2": _laws.sliced_wasserstein, "Fréchet": _laws.frechet}
CROPS = ("data._target_=fewstep.core.lit.crops.Crops", "++data.n_held_out=64")
PAIRS = ("data._target_=fewstep.core.lit.pairs.PairData", "data.shape=[3,32,32]", "++data.n=1024", "++data.steps=16")
COMMON = (
    "++data.batch_size=32", "module.metrics=null", "++module.learning_rate=5e-4",
    "++module.total_steps=${trainer.max_steps}", "trainer.check_val_every_n_epoch=1000",
)  # fmt: skip
"""Data of recipes that learn from them, of recipes that learn from pairs, and what all have in common."""


@dataclass(frozen=True)
class Student:
    """How one is trained: rounds of (experiment, iterations, overrides), each the teacher of the next."""

    rounds: tuple[tuple[str, int, tuple[str, ...]], ...]
    pairs: bool = False
    steps: tuple[int, ...] = (1, 2, 4)


def students() -> dict[str, Student]:
    """Name -> how it is trained."""
    step = f"++module.method.step={{_target_: {DISTILL}.segment.ddim, _partial_: true}}"
    halves = tuple(("distill/progressive", n, (f"module.method.steps={k}",)) for k, n in ((8, 60), (4, 60), (2, 100)))
    sigma = "module.method.sigma_data=0.42"  # of the crops
    features = f"++module.method.features={{_target_: {DISTILL}.features.RandomFeatures}}"
    return {
        "consistency": Student((("distill/consistency", 220, (sigma, "module.method.steps=16", step)),)),
        "progressive, 16 to 2": Student(halves),
        "pairs, two unrolled steps": Student((("distill/unrolled", 150, ("module.method.steps=2",)),), pairs=True),
        "distribution matching": Student((("distill/distribution_matching", 100, ("++module.fake_updates=1",)),)),
        "moment matching, 2 steps": Student((("distill/moment_matching", 120, ("module.method.steps=2", features)),)),
    }  # fmt: skip


def rows(*, quick: bool = False, data: Path | None = None, progress: Callable[[str], None] | None = None) -> list[dict]:
    """The table of the benchmark.

    Raises
    ------
    UsageError
        If there is no data: distances need real crops.
    """
    if data is None:
        raise UsageError("distances need pictures: give --data, a folder of them (or one with images/kodak in it)")
    folder = data / "images" / "kodak" if (data / "images" / "kodak").is_dir() else data
    judge = Judge.make(folder, 128 if quick else COUNT)
    seeds = SEEDS[: 1 if quick else None]
    teacher = Pretrained.load(TEACHER)
    table = judge.floor()
    for steps in (1, 2, 4, 8) if quick else (1, 2, 4, 8, 50):
        table += judge.rows("teacher", teacher, steps, seeds[:1] if steps == 50 else seeds)
    for name, student in students().items():
        export, cost = trained(
            ("quick-" if quick else "") + "photos-" + _slug(name), jobs(student, folder, quick=quick)
        )
        for steps in student.steps:
            table += judge.rows(name, Pretrained.load(export), steps, seeds)
        table += [_row(name, metric, value, None) for metric, value in cost.items()]
        if progress:
            progress(", ".join(f"{row['row']}: {row['metric']} {row['value']:.4g}" for row in table[-14:]))
    return table + ([] if quick else verdict(table))


def jobs(student: Student, folder: Path, *, quick: bool = False) -> list[list[str]]:
    """Overrides of its fits."""
    found = []
    for experiment, n, overrides in student.rounds:
        data = [*PAIRS, *(["++data.n=64"] if quick else [])] if student.pairs else [*CROPS, f"++data.folder={folder}"]
        n = max(2, n // 50) if quick else n
        given = [f"experiment={experiment}", f"teacher={TEACHER}", f"trainer.max_steps={n}"]
        found.append([*given, *data, *COMMON, *overrides])
    return found


@dataclass(frozen=True)
class Judge:
    """Two sets of held-out crops; samples are measured against the first."""

    real: Tensor
    other: Tensor

    @classmethod
    def make(cls, folder: Path, count: int) -> Judge:
        """The same for every row; crops that no training has drawn."""
        pictures = read_pictures(folder, shrink=(4, 8), least=32)
        sets = (torch.stack([crop(pictures, 32, rng.generator(77, part, i)) for i in range(count)]) for part in (0, 1))
        return cls(*sets)

    def floor(self) -> list[dict]:
        """How far as many other crops are."""
        return [_row("held-out crops", name, of(self.other, self.real), None) for name, of in METRICS.items()]

    def rows(self, name: str, model: Pretrained, steps: int, seeds: tuple[int, ...]) -> list[dict]:
        """Mean and spread over seeds."""
        drawn = [draw(model, steps, len(self.real), seed) for seed in seeds]
        table = []
        for metric, distance in METRICS.items():
            values = [distance(x, self.real) for x in drawn]
            table.append(_row(f"{name}, {steps} steps", metric, statistics.fmean(values), steps))
            if len(values) > 1:
                table.append(_row(f"{name}, {steps} steps", f"{metric}, spread", max(values) - min(values), steps))
        return table


@torch.no_grad()
def draw(model: Pretrained, steps: int, count: int, seed: int) -> Tensor:
    """[count, 3, 32, 32]."""
    parts = range(0, count, BATCH)
    return torch.cat([model.sample(shape=(BATCH, 3, 32, 32), steps=steps, generator=1000 * seed + i).x for i in parts])


def verdict(table: list[dict]) -> list[dict]:
    """The best student in two steps against the teacher in eight."""
    found = []
    for metric in METRICS:
        values = {row["row"]: row["value"] for row in table if row["metric"] == metric}
        peer = values["teacher, 8 steps"]
        best = min((v, k) for k, v in values.items() if k.endswith(", 2 steps") and not k.startswith("teacher"))
        found.append(
            _row(best[1], f"{metric} below teacher, 8 steps", best[0], 2)
            | {"peer": "teacher, 8 steps", "peer_value": peer, "target": peer, "ok": best[0] < peer}
        )
    return found


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


def _row(name: str, metric: str, value: float, steps: int | None) -> dict:
    return {
        "row": name, "metric": metric, "value": value, "peer": None, "peer_value": None, "target": None, "ok": None,
        "steps": steps, "nfe": steps, "dtype": "float32", "device": "cpu", "seed": SEEDS[0],
    }  # fmt: skip
