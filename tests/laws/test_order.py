"""Every path × every solver: measured order of convergence on Gaussian data, at least 0.95 of the nominal one."""

import pytest

from fewstep.benchmarks.core import BRIDGES, PATHS, SOLVERS, rows
from fewstep.core import solvers
from fewstep.core.errors import UsageError
from fewstep.core.solvers.gaussian import order
from fewstep.core.solvers.registry import measured_order


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("path", PATHS)
def test_order(path, solver):
    entry = SOLVERS[solver]
    if path in BRIDGES and entry.falling:
        with pytest.raises(UsageError, match="noise that falls towards the data"):
            measured_order(entry, PATHS[path]())
    else:
        assert measured_order(entry, PATHS[path]()) >= 0.95 * entry.order


def test_a_wrong_table_is_of_lower_order():
    class Wrong:
        def tableau(self, path, times):
            table = solvers.dpmpp_2m().tableau(path, times)
            history = table.history.copy()
            history[:, 1] *= 0.5
            return type(table)(**{**table.__dict__, "history": history})

    assert order(Wrong(), PATHS["vp_linear"]()) < 1.1


def test_order_wants_two_numbers_of_steps():
    with pytest.raises(UsageError, match="two increasing numbers of steps"):
        order(solvers.ddim(), PATHS["edm"](), steps=(8, 8))


def test_benchmark_rows(monkeypatch, tmp_path):
    from fewstep.benchmarks import core

    monkeypatch.setattr(core, "SOLVERS", {"ddim": SOLVERS["ddim"]})
    told = []
    found = rows(quick=True, progress=told.append)
    assert told == ["ddim"]
    assert [row["ok"] for row in found] == [True] * len(PATHS) + [None]
    core.plots(found, tmp_path)
    assert (tmp_path / "core.png").stat().st_size > 1000
