"""What every solver does exactly: constant data, ends of the path, and the same result on every path."""

import itertools

import pytest
import torch

from fewstep.benchmarks.core import BRIDGES, PATHS, SOLVERS
from fewstep.core import sample, solvers, times
from fewstep.core.solvers.gaussian import error

DETERMINISTIC = [name for name, case in SOLVERS.items() if not case.make().tableau(PATHS["edm"](), [2, 1]).noise.any()]


def applies(path, solver):
    return path not in BRIDGES or not SOLVERS[solver].falling


@pytest.mark.parametrize("solver", [name for name in DETERMINISTIC if "trig" not in name])
@pytest.mark.parametrize("path", PATHS)
def test_constant_answers_are_integrated_exactly(path, solver):
    """With D = d the exact solution keeps eps_hat: u_n = a_n d + s_n/s_p (u_p − a_p d)."""
    p = PATHS[path]()
    grid = p.inverse(torch.linspace(max(-1.5, float(p.lam(p.t_max))), 1.5, 6, dtype=torch.float64))
    d, x = 0.7, torch.tensor([[1.3]], dtype=torch.float64)
    out = sample(lambda x, t: torch.full_like(x, d), p, times=grid, solver=SOLVERS[solver].make(), x=x)
    a, _, s = p.coefficients(grid)
    torch.testing.assert_close(out.x, a[-1] * d + s[-1] / s[0] * (x - a[0] * d), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("solver", ["heun, trig", "trig 2", "trig 3", "trig 3 corrected"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_trig_is_exact_for_isotropic_gaussian_data(path, solver, steps):
    p = PATHS[path]()
    grid = times.uniform(p, steps, start=0.9 * p.t_max)
    assert error(SOLVERS[solver].make().tableau(p, grid), mean=0.0, variance=0.25) < 1e-12


@pytest.mark.parametrize(("path", "solver"), [pair for pair in itertools.product(PATHS, SOLVERS) if applies(*pair)])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_whole_path_ends_at_the_answer(path, solver, steps):
    """From t_max to 0, also where lam is infinite at both ends: finite tables, and no noise left."""
    p = PATHS[path]()
    y = torch.full((1, 3), 5.0, dtype=torch.float64)
    out = sample(
        lambda x, t: torch.ones_like(x),
        p,
        times=times.uniform(p, steps),
        solver=SOLVERS[solver].make(),
        y=y,
        generator=1,
    )
    tolerance = 0.1 if path == "ve" else 1e-10
    if "trig" in solver:
        assert torch.isfinite(out.x).all()
    else:
        torch.testing.assert_close(out.x, torch.ones_like(y), rtol=0, atol=tolerance)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if "trig" not in name and name != "resshift"])
def test_no_cliff_in_the_number_of_steps(solver):
    """One more step never costs much: no rule of the solver depends on how many steps there are."""
    p = PATHS["vp_linear"]()
    errors = [
        error(SOLVERS[solver].make().tableau(p, times.uniform_logsnr(p, n)), mean=0.5, variance=0.25)
        for n in range(10, 41)
    ]
    assert all(after < max(1.2 * before, 5e-3) for before, after in itertools.pairwise(errors))
    assert errors[-1] < errors[0] / 2


def posterior_mean(ubar, sigma):
    """E[x0 | ubar = x0 + sigma eps] for the mixture of N(−1, 0.04) and N(0.5, 0.09), weights 0.3 and 0.7."""
    means, variances, weights = torch.tensor([[-1.0, 0.5], [0.04, 0.09], [0.3, 0.7]], dtype=torch.float64).unbind()
    total = variances + sigma**2
    log_weight = torch.log(weights) - (ubar[..., None] - means) ** 2 / (2 * total) - torch.log(total) / 2
    guess = means + variances / total * (ubar[..., None] - means)
    return (torch.softmax(log_weight, -1) * guess).sum(-1)


def endpoint(p, solver, lam, start, y=None):
    grid = p.inverse(lam)

    def denoise(x, t):
        a, b, s = p.coefficients(t)
        return posterior_mean((x if y is None else x - b * y) / a, s / a)

    a, b, _ = p.coefficients(grid[[0, -1]])
    x = a[0] * start + (0 if y is None else b[0] * y)
    out = sample(denoise, p, times=grid, solver=solver, x=x, y=y).x
    return (out - (0 if y is None else b[1] * y)) / a[1]


@pytest.mark.parametrize("solver", DETERMINISTIC)
def test_all_paths_agree_at_equal_lam(solver):
    """In u/a the flow depends on lam only: VP, VE, EDM, flow, mean-reverting, shifting and bridges end alike."""
    lam = torch.linspace(-0.5, 2.0, 8, dtype=torch.float64)
    start = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    y = torch.linspace(2, -4, 7, dtype=torch.float64)[:, None]
    expected = endpoint(PATHS["edm"](), SOLVERS[solver].make(), lam, start)
    for make in PATHS.values():
        for end in (None, y):
            got = endpoint(make(), SOLVERS[solver].make(), lam, start, end)
            torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_y_of_zero_is_no_y():
    p = PATHS["ou"]()
    options = {"times": times.uniform(p, 4), "solver": solvers.ddpm(), "generator": 3}
    without = sample(lambda x, t: 0.5 * x, p, shape=(2, 5), **options)
    with_zero = sample(lambda x, t: 0.5 * x, p, y=torch.zeros(2, 5), **options)
    assert torch.equal(without.x, with_zero.x)
