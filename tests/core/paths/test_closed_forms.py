"""Each process against its own published definition, re-derived here."""

import math

import pytest
import torch

from fewstep.core import paths
from fewstep.core.errors import UsageError

T = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)


def close(got, expected, tolerance=1e-12):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def noise_rate(path, t):
    """g² of the forward SDE du = f u dt + g dw that has these marginals: d(s²)/dt − 2 (a'/a) s²."""
    a, _, s = path.coefficients(t)
    da, _, ds = path.derivatives(t)
    return 2 * s * ds - 2 * da / a * s**2


def test_vp_linear_has_linear_noise_rate():
    path = paths.vp_linear(0.1, 20.0)
    a, _, s = path.coefficients(T)
    beta = 0.1 + T * 19.9
    close(path.derivatives(T)[0] / a, -beta / 2)
    close(noise_rate(path, T), beta)
    close(a**2 + s**2, torch.ones_like(T))


def test_vp_cosine_is_nichol_and_dhariwals():
    def level(t):
        return torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    a, _, s = paths.vp_cosine().coefficients(T)
    close(a**2, level(T) / level(torch.zeros(1, dtype=torch.float64)))
    close(a**2 + s**2, torch.ones_like(T))


def test_vp_table_holds_the_table_and_is_straight_in_lam():
    table = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 50, dtype=torch.float64), 0)
    path = paths.vp_table(table)
    t = torch.arange(1, 51, dtype=torch.float64) / 50
    a, b, s = path.coefficients(t)
    close(a, table.sqrt())
    close(s, (1 - table).sqrt())
    assert not b.any()
    lam = path.lam(t)
    close(path.lam((t[:-1] + t[1:]) / 2), (lam[:-1] + lam[1:]) / 2, 1e-10)
    half = path.coefficients(1 / 100)
    first = path.coefficients(1 / 50)
    close(half[2] / half[0], first[2] / first[0] / 2)
    assert (path.n_train, path.t_min) == (50, 1 / 50)


def test_ve_is_geometric_and_edm_is_time():
    close(paths.ve(0.01, 50.0).coefficients(T)[2], 0.01 * 5000**T)
    a, _, s = paths.edm().coefficients(T)
    close(a, torch.ones_like(T))
    close(s, T)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_rectified_flow_is_a_line_and_shift_lowers_lam(shift):
    a, _, s = paths.rectified_flow(shift).coefficients(T)
    close(a + s, torch.ones_like(T))
    close(paths.rectified_flow(shift).lam(T), torch.log((1 - T) / T) - math.log(shift))


def test_ou_solves_its_sde():
    """Mean and variance of dx = gamma (y − x) dt + sigma_min k^t sqrt(2 log k) dw."""
    gamma, low, ratio = 1.5, 0.05, 10.0
    path = paths.ou(gamma, low, low * ratio)
    a, b, _ = path.coefficients(T)
    da, db, _ = path.derivatives(T)
    close(da, -gamma * a)
    close(db, gamma * (1 - b))
    close(noise_rate(path, T), low**2 * ratio ** (2 * T) * 2 * math.log(ratio))
    assert float(path.lam(1.0)) == pytest.approx(-0.556, abs=1e-3)
    assert float(path.lam(0.03)) == pytest.approx(3.927, abs=1e-3)


def test_resshift_is_the_published_schedule():
    """Power-law interpolation of sqrt(eta) between min_noise/kappa and sqrt(eta_N)."""
    kappa, n, p = 2.0, 15, 0.3
    first = min(0.04 / kappa, 0.04)
    i = torch.arange(n, dtype=torch.float64)
    root = first * torch.exp((i / (n - 1)) ** p * math.log(0.99 / first))
    a, b, s = paths.resshift(kappa, n, p).coefficients((i + 1) / n)
    close(a, 1 - root**2)
    close(b, root**2)
    close(s, kappa * root)


def test_ir_sde_is_the_published_table():
    n, eps, scale = 100, 0.005, 50 / 255
    x = torch.linspace(0, n + 2, n + 3, dtype=torch.float64)
    level = torch.cos((x / (n + 2) + 0.008) / 1.008 * math.pi / 2) ** 2
    theta = 1 - (level / level[0])[1:-1]
    sums = torch.cumsum(theta, 0) - theta[0]
    dt = -math.log(eps) / sums[-1]
    t = torch.arange(n + 1, dtype=torch.float64) / n
    a, b, s = paths.ir_sde().coefficients(t)
    close(a, torch.exp(-sums * dt))
    close(b, 1 - torch.exp(-sums * dt))
    close(s, scale * torch.sqrt(1 - torch.exp(-2 * sums * dt)))


def test_bridges_are_pinned_brownian_motion():
    """Brownian motion of variance q(t), given both ends: mean by q/q(1), variance q (1 − q/q(1))."""
    close(torch.stack(paths.brownian_bridge(0.7).coefficients(T)), torch.stack([1 - T, T, 0.7 * (T * (1 - T)).sqrt()]))
    k, c = 2.6, 0.4
    q, total = c * (k ** (2 * T) - 1) / (2 * math.log(k)), c * (k**2 - 1) / (2 * math.log(k))
    a, b, s = paths.sb_ve(k, c).coefficients(T)
    close(b, q / total)
    close(a, 1 - q / total)
    close(s, (q * (total - q) / total).sqrt())


def test_bridge_ends_pinned_at_y():
    for path in (paths.brownian_bridge(), paths.sb_ve()):
        z = torch.ones(2, 3)
        assert torch.equal(path.prior(z, 4 * z), 4 * z)
        assert float(path.lam(path.t_max)) == -math.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: paths.vp_linear(0.0, 1.0), "0 < beta_min <= beta_max"),
        (lambda: paths.vp_cosine(-1.0), "offset >= 0"),
        (lambda: paths.vp_table([0.5]), "at least 2 decreasing"),
        (lambda: paths.vp_table([0.5, 0.6]), "at least 2 decreasing"),
        (lambda: paths.vp_table([1.0, 0.5]), "at least 2 decreasing"),
        (lambda: paths.ve(1.0, 0.5), "0 < sigma_min < sigma_max"),
        (lambda: paths.edm(0.0, 0.5), "0 < sigma_min < sigma_max"),
        (lambda: paths.rectified_flow(0.0), "shift > 0"),
        (lambda: paths.ou(-1.0), "gamma > 0"),
        (lambda: paths.ir_sde(n_steps=1), "n_steps >= 2"),
        (lambda: paths.resshift(kappa=-1.0), "positive kappa"),
        (lambda: paths.resshift(max_root=1.5), "max_root < 1"),
        (lambda: paths.brownian_bridge(0.0), "sigma > 0"),
        (lambda: paths.sb_ve(1.0), "k > 1"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_times_must_fit_the_batch():
    path, x = paths.edm(), torch.zeros(3, 2)
    with pytest.raises(UsageError, match="one time or one per item of the batch of 3"):
        path.sample(x, x, torch.ones(2))
    with pytest.raises(UsageError, match=r"got times \[3, 1\]"):
        path.sample(x, x, torch.ones(3, 1))
