"""The table as an object: frozen, equal by value, saved and loaded."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError

PATH = paths.vp_linear()


def table(n=5, solver=None):
    return (solver or solvers.heun()).tableau(PATH, times.uniform(PATH, n))


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        table().noise = 1
    with pytest.raises(ValueError, match="read-only"):
        table().history[0] = 1


def test_equal_and_hashed_by_value():
    assert table() == table()
    assert hash(table()) == hash(table())
    assert len({table(), table(), table(4), table(solver=solvers.ddim())}) == 3
    assert table() != "table"


def test_says_what_it_is():
    assert (
        repr(table())
        == "Tableau(heun('rho') on vp_linear(beta_min=0.1, beta_max=20.0): 5 steps, 9 evaluations, t 1 to 0)"
    )
    assert (table().rows, table().nfe, table().steps) == (9, 9, 5)
    np.testing.assert_array_equal(table().grid, times.uniform(PATH, 5))


def test_saved_and_loaded(tmp_path):
    table().save(tmp_path / "table.safetensors")
    again = solvers.Tableau.load(tmp_path / "table.safetensors")
    assert again == table()
    x = torch.ones(1, 3)
    assert torch.equal(
        sample(lambda x, t: x / 2, PATH, solver=again, x=x).x,
        sample(lambda x, t: x / 2, PATH, times=times.uniform(PATH, 5), solver=solvers.heun(), x=x).x,
    )


def test_serves_as_a_solver_on_its_own_path_and_times_only():
    assert table().tableau(PATH) is not None
    assert table().tableau(PATH, times.uniform(PATH, 5)) == table()
    with pytest.raises(UsageError, match=r"made for vp_linear\(.*\), not for edm"):
        table().tableau(paths.edm())
    with pytest.raises(UsageError, match="brings its own times"):
        table().tableau(PATH, times.uniform(PATH, 4))


def test_two_columns_of_mix_carry_no_momentum():
    parts = {field.name: getattr(table(), field.name) for field in dataclasses.fields(solvers.Tableau)}
    assert parts["mix"].shape == (9, 3)
    assert solvers.Tableau(**(parts | {"mix": parts["mix"][:, :2]})) == table()
    with pytest.raises(UsageError, match=r"finite mix of shape \(9, 3\), got \(9, 1\)"):
        solvers.Tableau(**(parts | {"mix": parts["mix"][:, :1]}))


def test_bad_tables():
    parts = {field.name: getattr(table(), field.name) for field in dataclasses.fields(solvers.Tableau)}
    with pytest.raises(UsageError, match=r"finite noise of shape \(9,\), got \(8,\)"):
        solvers.Tableau(**(parts | {"noise": parts["noise"][1:]}))
    with pytest.raises(UsageError, match="finite state"):
        solvers.Tableau(**(parts | {"state": parts["state"] * np.nan}))


def test_other_files(tmp_path):
    (tmp_path / "text").write_text("not safetensors")
    with pytest.raises(UsageError, match="expected a tableau in safetensors, got something else"):
        solvers.Tableau.load(tmp_path / "text")
    save_file({"weight": torch.zeros(2)}, tmp_path / "net")
    with pytest.raises(UsageError, match=r"expected a tableau, got safetensors with \['weight'\]"):
        solvers.Tableau.load(tmp_path / "net")
    with pytest.raises(FileNotFoundError):
        solvers.Tableau.load(tmp_path / "absent")
