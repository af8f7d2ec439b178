"""``docs/solvers.md``: every solver with what its tables say; made by ``python -m fewstep.core.solvers.page``."""

from pathlib import Path

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath, edm, vp_linear
from fewstep.core.solvers.registry import REGISTRY, Entry, facts

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

_TAIL = """
Not in the table, because their steps depend on what they see or on the net: `fewstep.core.solvers.walk`
(predictor-corrector with Langevin steps, Euler-Maruyama in x, time shift, DualFast, teleportation) and
`fewstep.core.solvers.consistency` (multistep sampling of consistency models).
"""


def page() -> str:
    """The page as Markdown.

    Returns
    -------
    str
        Ends with a line feed.
    """
    path = vp_linear()
    rows = [_row(key, entry, edm() if entry.equal else path) for key, entry in REGISTRY.items()]
    return _HEAD.format(path=path.key) + "".join(rows) + _TAIL


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
