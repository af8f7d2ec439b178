"""``docs/solvers.md``: every solver with what its tables say; made by ``python -m fewstep.core.solvers.page``."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fewstep.core import nfe, rng, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath, edm, vp_linear
from fewstep.core.solvers import walk
from fewstep.core.solvers.registry import REGISTRY, Entry, facts
from fewstep.core.solvers.walk import Ground, Walk

_HEAD = """# Solvers

Made by `python -m fewstep.core.solvers.page` from `fewstep.core.solvers.registry`; a test compares the two.

Each is a function `(path, times) -> Tableau` and runs on every path, with y as well. *Order*: nominal, and measured on
Gaussian data against the exact solution on `{path}`, between the two numbers of steps
given; in mean and variance for solvers that draw noise. *NFE*: network evaluations per step of the grid, once the first
steps are over. *States*: tensors of the state's size that the loop keeps, the state among them. *Remarks*: `equal
steps`: the order holds for equal steps in s/a; `in t`: it integrates over the process time, so it differs from path to
path and wants smooth paths; `falling noise`: not for bridges.

| name | table | order | measured | steps | NFE | noise | states | remarks | paper |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_WALKS = """
## Walks

Their steps depend on what they see, so they are generators instead of tables (`fewstep.core.solvers.walk`). *NFE* is
counted over 10 steps of the same path; around a solver, the order is that of the solver.

| name | NFE in 10 steps | noise | what it does | paper |
| --- | --- | --- | --- | --- |
"""

_TAIL = """
`fewstep.core.guide` has what is done to the net instead of the sampler: trajectory stitching of nets (`stitch`; solvers
are stitched by `solvers.stitch`), skip tuning, guidance.
"""

WALKS: dict[str, tuple[Callable[[], Walk], str, str]] = {
    "predictor_corrector, annealed": (
        lambda: walk.predictor_corrector(),
        "Langevin steps of fixed size after each step",
        "Song 2021, arXiv:2011.13456; SGMSE, arXiv:2208.05830",
    ),
    "predictor_corrector, langevin": (
        lambda: walk.predictor_corrector(rule="langevin", snr=0.16),
        "the same, sized by the norms of noise and score",
        "Song 2021, arXiv:2011.13456",
    ),
    "euler_maruyama_x": (
        lambda: walk.euler_maruyama_x(),
        "the reverse SDE in x, as SGMSE's own code takes it",
        "Song 2021, arXiv:2011.13456",
    ),
    "time_shift": (
        lambda: walk.time_shift(solvers.dpmpp_2m(), window=0.1, cutoff=0.2),
        "tells the net the time that fits the state's variance",
        "Li 2024, arXiv:2305.15583",
    ),
    "dual_fast": (
        lambda: walk.dual_fast(solvers.dpmpp_2m(), strength=0.1),
        "borrows from the first answer, the most accurate one",
        "Yu 2025, arXiv:2506.13058",
    ),
    "teleport": (
        lambda: walk.teleport(solvers.dpmpp_2m(), walk.Gaussian(torch.zeros(2), 1.0), 0.7),
        "jumps along the ODE of the data's Gaussian at no call",
        "Wang 2024, arXiv:2412.09726",
    ),
}
"""Name -> (maker, what it does, paper)."""


def page() -> str:
    """The page as Markdown.

    Returns
    -------
    str
        Ends with a line feed.
    """
    path = vp_linear()
    rows = [_row(key, entry, edm() if entry.equal else path) for key, entry in REGISTRY.items()]
    walks = [_walk(key, *entry) for key, entry in WALKS.items()]
    return _HEAD.format(path=path.key) + "".join(rows) + _WALKS + "".join(walks) + _TAIL


def _walk(key: str, make: Callable[[], Walk], does: str, paper: str) -> str:
    path = vp_linear()
    grid = times.uniform(path, 11)[:-1]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        a, _, s = path.coefficients(t)
        return x * a / (a * a + s * s)

    def run(seed: int) -> tuple[Tensor, int]:
        noise = rng.Independent().on(path, grid.numpy(), None, rng.streams(seed, 1))
        with nfe.count() as counter:
            *_, last = make().walk(Ground(path, grid.numpy(), torch.ones(1, 2), None, denoise, noise))
        return last.x, counter.calls

    (one, calls), (other, _) = run(0), run(1)
    return f"| {key} | {calls} | {'' if torch.equal(one, other) else 'yes'} | {does} | {paper} |\n"


def _row(key: str, entry: Entry, path: AffinePath) -> str:
    found = facts(entry, path)
    name = entry.make().tableau(path, [path.t_max, path.t_max / 2]).solver
    marks = {"equal steps": entry.equal, "in t": entry.in_time, "falling noise": entry.falling}
    cells = (
        key,
        f"`{name}`",
        str(entry.order),
        f"{found.order:.2f}",
        f"{entry.steps[0]}, {entry.steps[1]}",
        f"{found.nfe_per_step:g}",
        "yes" if found.stochastic else "",
        str(found.states),
        ", ".join(mark for mark, holds in marks.items() if holds),
        entry.paper,
    )
    return f"| {' | '.join(cells)} |\n"


def write(file: Path) -> None:
    """Write the page.

    Parameters
    ----------
    file
        In a folder that exists.

    Raises
    ------
    UsageError
        If the folder does not exist.
    """
    if not file.parent.is_dir():
        raise UsageError(f"expected to be run from the root of the repository: there is no folder {file.parent}")
    file.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path("docs/solvers.md"))
