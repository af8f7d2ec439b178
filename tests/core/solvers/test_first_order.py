"""First-order solvers against the formulas of their papers, re-derived here."""

import math

import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError

TABLE = torch.cumprod(1 - torch.linspace(1e-3, 0.2, 20, dtype=torch.float64), 0)


def one_step(path, solver, t, r, *, x, d, y=None):
    """Mean and standard deviation of x_r given x_t = x and the answer d."""
    table = solver.tableau(path, [t, r])
    out = sample(lambda x, t: torch.full_like(x, d), path, times=[t, r], solver=_quiet(table), x=x, y=y)
    return out.x, float(table.noise[0])


def _quiet(table):
    return type(table)(**{**table.__dict__, "noise": 0 * table.noise})


X = torch.linspace(-2, 2, 5, dtype=torch.float64)[None]
Y = torch.linspace(3, -1, 5, dtype=torch.float64)[None]


def close(got, expected):
    got, expected = (torch.as_tensor(value, dtype=torch.float64) for value in (got, expected))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_is_equation_12(eta):
    path, (i, j), d = paths.vp_table(TABLE), (15, 9), 0.4
    now, then = TABLE[i], TABLE[j]
    sigma = eta * torch.sqrt((1 - then) / (1 - now)) * torch.sqrt(1 - now / then)
    eps = (X - now.sqrt() * d) / (1 - now).sqrt()
    mean, std = one_step(path, solvers.ddim(eta), (i + 1) / 20, (j + 1) / 20, x=X, d=d)
    close(mean, then.sqrt() * d + torch.sqrt(1 - then - sigma**2) * eps)
    close(std, sigma)


@pytest.mark.parametrize("i", range(1, 20))
def test_ddpm_is_the_posterior_of_the_discrete_chain(i):
    """q(x_{t−1} | x_t, x0), Ho et al. 2020, equations 6 and 7."""
    path, d = paths.vp_table(TABLE), 0.4
    beta = 1 - TABLE[i] / TABLE[i - 1]
    mean, std = one_step(path, solvers.ddpm(), (i + 1) / 20, i / 20, x=X, d=d)
    of_x0 = TABLE[i - 1].sqrt() * beta / (1 - TABLE[i])
    of_x = (1 - beta).sqrt() * (1 - TABLE[i - 1]) / (1 - TABLE[i])
    close(mean, of_x0 * d + of_x * X)
    close(std, torch.sqrt((1 - TABLE[i - 1]) / (1 - TABLE[i]) * beta))


def test_the_three_etas_differ_between_their_ends():
    """h = 0.8, eta = 0.5: 0.447 of s_n for DDIM, 0.742 for the SDE."""
    path = paths.edm()
    t, r = 1.0, math.exp(-0.8)
    assert solvers.ddim(0.5).tableau(path, [t, r]).noise[0] / r == pytest.approx(0.447, abs=1e-3)
    assert solvers.sde_euler(0.5).tableau(path, [t, r]).noise[0] / r == pytest.approx(0.742, abs=1e-3)
    for rule in (solvers.ddim, solvers.sde_euler):
        close(rule(0.0).tableau(path, [t, r]).noise[0], 0.0)
        close(rule(1.0).tableau(path, [t, r]).noise[0], r * math.sqrt(1 - math.exp(-1.6)))


@pytest.mark.parametrize("i", range(2, 16))
def test_resshift_is_the_published_posterior(i):
    """mean = eta_{t−1}/eta_t x_t + alpha_t/eta_t x0, variance kappa² eta_{t−1}/eta_t alpha_t."""
    path, kappa, d = paths.resshift(2.0, 15), 2.0, 0.4
    now, then = (float(path.coefficients(k / 15)[1]) for k in (i, i - 1))
    mean, std = one_step(path, solvers.resshift(), i / 15, (i - 1) / 15, x=X, d=d, y=Y)
    close(mean, then / now * X + (now - then) / now * d)
    close(std, kappa * math.sqrt(then / now * (now - then)))


def test_resshift_needs_falling_noise():
    with pytest.raises(UsageError, match="needs noise that falls towards the data"):
        solvers.resshift().tableau(paths.brownian_bridge(), [0.9, 0.5])


@pytest.mark.parametrize("i", [1, 2, 40, 100])
def test_ddpm_on_ir_sde_is_the_optimal_reverse_step(i):
    """Luo et al. 2023, proposition 3.2, in x and mu = y."""
    path, d, scale = paths.ir_sde(), 0.4, 50 / 255
    now, then = (float(path.coefficients(k / 100)[0]) for k in (i, i - 1))
    jump = now / then
    of_x, of_x0 = jump * (1 - then**2) / (1 - now**2), then * (1 - jump**2) / (1 - now**2)
    mean, std = one_step(path, solvers.ddpm(), i / 100, (i - 1) / 100, x=X, d=d, y=Y)
    close(mean, of_x * (X - Y) + of_x0 * (d - Y) + Y)
    close(std, scale * math.sqrt((1 - jump**2) * (1 - then**2) / (1 - now**2)))


def _bridge_clock(t, k=2.6, c=0.4):
    return c * (k ** (2 * t) - 1) / (2 * math.log(k))


@pytest.mark.parametrize("t", [1.0, 0.8])
def test_ddim_and_ddpm_on_the_bridge_are_the_published_samplers(t):
    """Jukić et al. 2024: the ODE and the SDE sampler of the VE Schrödinger bridge with x_T = y."""
    path, r, d = paths.sb_ve(), 0.5, 0.4
    x = Y if t == 1.0 else X
    now, then, total = (_bridge_clock(v) for v in (t, r, 1.0))
    mean, std = one_step(path, solvers.ddpm(), t, r, x=x, d=d, y=Y)
    close(mean, then / now * x + (1 - then / now) * d)
    close(std, math.sqrt(then * (1 - then / now)))
    mean, std = one_step(path, solvers.ddim(), t, r, x=x, d=d, y=Y)
    left, left_then = total - now, total - then
    if t == 1.0:
        close(mean, left_then / total * d + then / total * Y)
    else:
        ratio = math.sqrt(then * left_then / (now * left))
        of_x0 = (left_then - math.sqrt(left * then * left_then / now)) / total
        of_y = (then - math.sqrt(now * then * left_then / left)) / total
        close(mean, ratio * x + of_x0 * d + of_y * Y)
    assert std == 0


def test_whole_chain_of_ddpm_has_the_data_law():
    """Samples of N(0.5, 0.2²) with its exact denoiser: mean and spread come out, batch-wide."""
    path = paths.vp_linear()

    def denoise(x, t):
        a, _, s = path.coefficients(t)
        return 0.5 + a * 0.04 / (a**2 * 0.04 + s**2) * (x - a * 0.5)

    grid = times.uniform_logsnr(path, 400)
    out = sample(denoise, path, times=grid, solver=solvers.ddpm(), shape=(1, 20_000), generator=0).x
    assert float(out.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(out.std()) == pytest.approx(0.2, abs=0.005)


def test_errors():
    with pytest.raises(UsageError, match=r"eta in \[0, 1\], got 1.5"):
        solvers.ddim(1.5)
    with pytest.raises(UsageError, match="eta >= 0, got -1"):
        solvers.sde_euler(-1)
