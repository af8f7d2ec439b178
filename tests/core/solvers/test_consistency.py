"""Consistency sampling: with the exact flow map the law stays, and one step is the map."""

import pytest
import torch

from fewstep.core import paths, sample
from fewstep.core.errors import UsageError
from fewstep.core.solvers.consistency import consistency

EDM, D = paths.edm(), torch.float64


def flow_map(mean, variance, low):
    """The consistency function of N(mean, variance): along the ODE to sigma = low."""
    return lambda x, t: mean + (x - mean) * ((variance + low**2) / (variance + t**2)) ** 0.5


@pytest.mark.parametrize("low", [0.3, 0.0])
@pytest.mark.parametrize("grid", [[80.0], [80.0, 2.0], [80.0, 10.0, 1.0, 0.5]])
def test_the_law_does_not_depend_on_the_steps(low, grid):
    n = 40_000
    x = 0.5 + (0.7 + 80**2) ** 0.5 * torch.randn(1, n, generator=torch.Generator().manual_seed(0), dtype=D)
    out = sample(flow_map(0.5, 0.7, low), EDM, times=[*grid, low], solver=consistency(sigma_min=low), x=x, seeds=[0])
    assert out.nfe == len(grid)
    assert float(out.x.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(out.x.var()) == pytest.approx(0.7 + low**2, rel=0.03)


def test_one_step_is_the_net():
    x = torch.linspace(-1, 1, 5)[None]
    assert torch.equal(sample(lambda x, t: x.cos(), EDM, times=[80.0, 0.0], solver=consistency(), x=x).x, x.cos())


def test_the_noise_is_that_of_algorithm_1():
    table = consistency(sigma_min=0.002).tableau(EDM, [80.0, 5.0, 0.002])
    assert table.noise.tolist() == pytest.approx([(25 - 0.002**2) ** 0.5, 0.0], rel=1e-12)
    assert not table.state.any()
    assert table.history.tolist() == [[1.0], [1.0]]


def test_on_a_path_with_y():
    ou = paths.ou()
    y = torch.full((1, 3), 2.0, dtype=D)
    seen = []
    sample(
        lambda x, t: torch.zeros_like(x), ou, times=[1.0, 0.5, 0.0], solver=consistency(), y=y, seeds=[0],
        callback=lambda info: seen.append(info.x.clone()),
    )  # fmt: skip
    _, b, s = (float(v) for v in ou.coefficients(0.5))
    assert ((seen[0] - b * y).abs() < 5 * s).all()
    assert torch.equal(seen[1], torch.zeros_like(y))


def test_bad_options():
    with pytest.raises(UsageError, match="expected sigma_min >= 0, got -1"):
        consistency(sigma_min=-1)
