"""The default solver: exact where it says so, measured from data, and never guessed."""

import pytest
import torch

from fewstep.core import paths, sample, solvers
from fewstep.core.errors import UsageError
from fewstep.core.solvers.gaussian import error


@pytest.mark.parametrize(
    "path", [paths.vp_linear(), paths.edm(), paths.rectified_flow(), paths.ou()], ids=lambda p: p.key
)
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_it_is_exact_on_gaussian_data_of_its_sigma_data(path, steps):
    table = solvers.default(sigma_data=0.7, scale=0.4).tableau(path, steps)
    assert table.nfe == steps
    assert error(table, mean=0.0, variance=0.49) < 1e-12


def test_it_brings_its_grid_and_takes_another():
    base, path = solvers.default(sigma_data=0.5, scale=0.3), paths.vp_linear()
    assert base.tableau(path, 6) == base.tableau(path, base.times(path, 6))
    assert base.tableau(path, [1.0, 0.5, 0.1]).grid.tolist() == [1.0, 0.5, 0.1]
    out = sample(lambda x, t: torch.zeros_like(x), path, times=5, solver=base, shape=(2, 3), generator=0)
    assert out.nfe == 5
    assert out.x.abs().max() < 1  # data that are 0 do not have the assumed spread


def test_its_parameters_are_shown():
    shown = repr(solvers.default(sigma_data=0.5, scale=0.25))
    assert shown == "Default(sigma_data=0.5, scale=0.25, power=1.5, order=2)"
    assert solvers.default(sigma_data=0.5, scale=0.25).name == shown


@pytest.mark.parametrize("shape", [(4000, 3), (3, 4000), (500, 2, 6)])
def test_lengths_are_measured_from_data(shape):
    x0 = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.1
    x0.flatten(1)[:, 0] *= 30
    x0 = x0 + 5
    rows = x0.flatten(1)
    found = solvers.default_for(x0)
    covariance = torch.cov(rows.T) if rows.shape[1] < 100 else None
    assert found.sigma_data == pytest.approx(float(rows.var(0).mean() ** 0.5))
    if covariance is not None:
        assert found.scale == pytest.approx(float(torch.linalg.eigvalsh(covariance)[-1] ** 0.5) / 2)


def test_the_scale_is_capped_where_one_component_of_very_many_dominates():
    x0 = torch.randn(50, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x0 = x0 + 30 * torch.randn(50, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = solvers.default_for(x0)
    assert found.scale == pytest.approx(3 * found.sigma_data)


def test_complex_data_are_measured():
    x0 = torch.randn(2000, 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)) * 3
    found = solvers.default_for(x0)
    assert found.sigma_data == pytest.approx(3.0, rel=0.05)
    assert found.scale == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize("given", [{}, {"sigma_data": 0.5}, {"scale": 0.5}])
def test_nothing_is_guessed(given):
    missing = "scale" if "sigma_data" in given else "sigma_data"
    with pytest.raises(UsageError, match=f"needs {missing} of the data: measure it with solvers.default_for"):
        solvers.default(**given)


def test_bad_parameters_are_refused():
    with pytest.raises(UsageError, match="expected scale > 0, got -1"):
        solvers.default(sigma_data=0.5, scale=-1)
    with pytest.raises(UsageError, match="expected order >= 1, got 0"):
        solvers.default(sigma_data=0.5, scale=1, order=0)
    with pytest.raises(UsageError, match="at least two signals"):
        solvers.default_for(torch.randn(1, 4, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(UsageError, match="signals that differ"):
        solvers.default_for(torch.ones(5, 4))
