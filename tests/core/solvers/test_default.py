"""The default solver: exact where it says so, measured from data, and never guessed."""

import pytest
import torch

from fewstep.core import paths, sample, solvers, times
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
    assert shown == "Default(sigma_data=0.5, scale=0.25, power=1.5, order=2, halfway=None)"
    assert solvers.default(sigma_data=0.5, scale=0.25).name == shown


@pytest.mark.parametrize("shape", [(4000, 3), (500, 2, 6)])
def test_statistics_are_those_of_the_covariance(shape):
    x0 = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.1
    x0.flatten(1)[:, 0] *= 30
    rows = x0.flatten(1) + 5
    covariance = torch.cov(rows.T)
    std = float(covariance.diag().mean()) ** 0.5
    spread = float(covariance.square().sum() / covariance.diag().sum()) ** 0.5
    want, found = solvers.default_of(std, spread), solvers.default_for(rows.reshape(shape))
    assert found.sigma_data == pytest.approx(want.sigma_data, rel=0.02)
    assert found.scale == pytest.approx(want.scale, rel=0.02)
    assert found.power == pytest.approx(want.power, rel=0.02)


def test_few_signals_do_not_inflate_the_spread():
    """The largest of twenty sample variances in 4000 equal directions is 14 times the true one."""
    generator = torch.Generator().manual_seed(0)
    drawn = [solvers.default_for(torch.randn(20, 4000, generator=generator)) for _ in range(8)]
    assert sum(found.scale for found in drawn) / 8 == pytest.approx(solvers.default_of(1, 1).scale, rel=0.5)
    strong = torch.randn(40, 4000, generator=generator) + 0.3 * torch.randn(40, 1, generator=generator)
    want = solvers.default_of(1.09**0.5, (((1 + 4000 * 0.09) ** 2 + 3999) / (4000 * 1.09)) ** 0.5)
    assert solvers.default_for(strong).scale == pytest.approx(want.scale, rel=0.4)


@pytest.mark.parametrize("r", [1.0, 4.0, 12.0, 25.0, 200.0])
def test_lengths_grow_with_the_spread_and_scale_with_the_data(r):
    here, double, more = solvers.default_of(1.0, r), solvers.default_of(2.0, 2 * r), solvers.default_of(1.0, 1.5 * r)
    assert (double.sigma_data, double.scale) == pytest.approx((2 * here.sigma_data, 2 * here.scale))
    assert double.power == pytest.approx(here.power)
    assert more.sigma_data > here.sigma_data
    assert more.scale > here.scale
    assert 1.5 < here.power < 2.4


def test_the_rule_has_no_jump():
    found = [solvers.default_of(1.0, float(r)) for r in torch.logspace(0, 3, 3000)]
    for kind in ("sigma_data", "scale", "power"):
        values = torch.tensor([getattr(one, kind) for one in found])
        assert (values[1:] / values[:-1] - 1).abs().max() < 0.01, kind


@pytest.mark.parametrize("steps", [8, 12, 30])
def test_many_steps_for_uneven_data_lie_halfway_to_the_uniform_grid(steps):
    path = paths.vp_linear()
    base = solvers.default_of(0.4, 10.0)
    even, own = times.uniform_logsnr(path, steps), times.theta(path, steps, scale=base.scale, power=base.power)
    table = base.tableau(path, steps)
    assert "unipc" in table.solver
    grid = base.times(path, steps)
    assert (grid[0], grid[-1]) == (own[0], own[-1])
    torch.testing.assert_close(path.lam(grid[1:-1]), (path.lam(own[1:-1]) + path.lam(even[1:-1])) / 2)
    assert "multistep" in base.tableau(path, 7).solver
    assert "multistep" in solvers.default_of(0.4, 2.0).tableau(path, steps).solver


def test_third_order_from_twelve_steps_on():
    path, base = paths.vp_linear(), solvers.default_of(0.5, 0.6)
    assert "multistep(2," in base.tableau(path, 11).solver
    assert "multistep(3," in base.tableau(path, 12).solver
    assert "multistep(2," in solvers.default_of(0.5, 0.6, order=2).tableau(path, 20).solver


def test_complex_data_are_measured():
    x0 = torch.randn(2000, 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)) * 3
    found = solvers.default_for(x0)
    assert found.sigma_data == pytest.approx(solvers.default_of(3.0, 3.0).sigma_data, rel=0.05)
    assert found.scale == pytest.approx(2.1, rel=0.1)


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
    with pytest.raises(UsageError, match="expected 0 < std <= spread"):
        solvers.default_of(1.0, 0.5)
