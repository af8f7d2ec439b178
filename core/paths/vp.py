"""Variance-preserving paths, a² + s² = 1, b = 0 (Song et al. 2021, arXiv:2011.13456; Nichol & Dhariwal 2021).

With L = −2 log a = softplus(−2 lam) every one of them is invertible in closed form.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import softplus

from fewstep.core.errors import UsageError
from fewstep.core.paths.affine import AffinePath, Three
from fewstep.core.paths.table import find, interpolate, slope


def vp_linear(beta_min: float = 0.1, beta_max: float = 20.0) -> AffinePath:
    """Noise rate linear in time: log a = −(beta_max − beta_min) t²/4 − beta_min t/2.

    Parameters
    ----------
    beta_min, beta_max
        Noise rates at t = 0 and t = 1, per unit of time.

    Returns
    -------
    AffinePath
        On [0, 1].

    Raises
    ------
    UsageError
        If not 0 < beta_min <= beta_max.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456, eq. 29.
    """
    if not 0 < beta_min <= beta_max:
        raise UsageError(f"expected 0 < beta_min <= beta_max, got {beta_min=}, {beta_max=}")
    beta_min, beta_max = float(beta_min), float(beta_max)
    return _vp(
        f"vp_linear(beta_min={beta_min}, beta_max={beta_max})",
        partial(_linear_log_a, beta_min=beta_min, beta_max=beta_max),
        partial(_linear_time, beta_min=beta_min, beta_max=beta_max),
    )


def vp_cosine(offset: float = 0.008) -> AffinePath:
    """Cosine schedule: a = cos(phi(t)) / cos(phi(0)), phi(t) = (t + offset) / (1 + offset) · pi/2.

    Parameters
    ----------
    offset
        Keeps the noise rate at t = 0 away from 0.

    Returns
    -------
    AffinePath
        On [0, 0.9946], where DPM-Solver clips it (arXiv:2206.00927, appendix D.4).

    Raises
    ------
    UsageError
        If `offset` is negative.

    References
    ----------
    Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.
    """
    if offset < 0:
        raise UsageError(f"expected offset >= 0, got {offset}")
    offset = float(offset)
    return _vp(
        f"vp_cosine(offset={offset})",
        partial(_cosine_log_a, offset=offset),
        partial(_cosine_time, offset=offset),
        t_max=0.9946,
    )


def vp_table(alphas_cumprod: Sequence[float] | Tensor) -> AffinePath:
    """The path of a net trained at N timesteps: a_i² = alphas_cumprod[i] at t = (i + 1)/N.

    lam is linear in t between those times; below t = 1/N, s/a falls linearly to 0.

    Parameters
    ----------
    alphas_cumprod
        Decreasing numbers in (0, 1), [N], N >= 2.

    Returns
    -------
    AffinePath
        On [0, 1], with `n_train` = N.

    Raises
    ------
    UsageError
        If the table is not as described.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, eq. 4.
    """
    table = torch.as_tensor(alphas_cumprod, dtype=torch.float64).cpu().flatten()
    if len(table) < 2 or not (table[-1] > 0 and table[0] < 1 and bool((table.diff() < 0).all())):
        raise UsageError("alphas_cumprod: expected at least 2 decreasing numbers inside (0, 1)")
    lam = (torch.log(table) - torch.log1p(-table)) / 2
    digest = hashlib.sha256(lam.numpy().tobytes()).hexdigest()[:16]
    return AffinePath(
        f"vp_table(n={len(table)}, sha256={digest})",
        marginal_at=partial(_table_marginal, lam=lam),
        slopes_at=partial(_table_slopes, lam=lam),
        lam_at=partial(_table_lam, lam=lam),
        time_at=partial(_table_time, lam=lam),
        t_min=1 / len(table),
        n_train=len(table),
    )


def _vp(key: str, log_a, time_at, t_max: float = 1.0) -> AffinePath:
    return AffinePath(
        key,
        marginal_at=partial(_marginal, log_a=log_a),
        slopes_at=partial(_slopes, log_a=log_a),
        lam_at=partial(_lam, log_a=log_a),
        time_at=time_at,
        t_max=t_max,
    )


def _marginal(t: Tensor, *, log_a) -> Three:
    value, _ = log_a(t)
    return torch.exp(value), torch.zeros_like(t), torch.sqrt(-torch.expm1(2 * value))


def _slopes(t: Tensor, *, log_a) -> Three:
    _, rate = log_a(t)
    a, _, s = _marginal(t, log_a=log_a)
    return a * rate, torch.zeros_like(t), -a.square() * rate / s


def _lam(t: Tensor, *, log_a) -> Tensor:
    value, _ = log_a(t)
    return value - torch.log(-torch.expm1(2 * value)) / 2


def _linear_log_a(t: Tensor, *, beta_min: float, beta_max: float) -> tuple[Tensor, Tensor]:
    rise = beta_max - beta_min
    return -(rise * t / 4 + beta_min / 2) * t, -(rise * t + beta_min) / 2


def _linear_time(lam: Tensor, *, beta_min: float, beta_max: float) -> Tensor:
    loss = softplus(-2 * lam, threshold=1e9)
    return 2 * loss / (torch.sqrt(beta_min**2 + 2 * (beta_max - beta_min) * loss) + beta_min)


def _cosine_log_a(t: Tensor, *, offset: float) -> tuple[Tensor, Tensor]:
    rate = math.pi / 2 / (1 + offset)
    phi, phi_0 = rate * (t + offset), rate * offset
    ratio = torch.cos(rate * t) - torch.sin(rate * t) * math.tan(phi_0)
    return torch.log(ratio), -rate * torch.tan(phi)


def _cosine_time(lam: Tensor, *, offset: float) -> Tensor:
    rate = math.pi / 2 / (1 + offset)
    cos_0 = math.cos(rate * offset)
    cosine = torch.exp(-softplus(-2 * lam, threshold=1e9) / 2) * cos_0
    sine_square = torch.sigmoid(-2 * lam) * cos_0**2 + math.sin(rate * offset) ** 2
    return torch.atan2(torch.sqrt(sine_square), cosine) / rate - offset


def _table_lam(t: Tensor, *, lam: Tensor) -> Tensor:
    n = len(lam)
    first = lam[0].to(t.device) - torch.log(n * t)
    return torch.where(n * t < 1, first, interpolate((n * t - 1).clamp(min=0), lam))


def _table_time(value: Tensor, *, lam: Tensor) -> Tensor:
    index = find(-value, -lam)
    first = torch.exp((lam[0].to(value.device) - value).clamp(max=0))
    return torch.where(value > lam[0].to(value.device), first, index + 1) / len(lam)


def _table_marginal(t: Tensor, *, lam: Tensor) -> Three:
    value = _table_lam(t, lam=lam)
    return torch.sqrt(torch.sigmoid(2 * value)), torch.zeros_like(t), torch.sqrt(torch.sigmoid(-2 * value))


def _table_slopes(t: Tensor, *, lam: Tensor) -> Three:
    n = len(lam)
    a, b, s = _table_marginal(t, lam=lam)
    rate = torch.where(n * t < 1, -1 / t, n * slope((n * t - 1).clamp(min=0), lam))
    return a * s.square() * rate, b, -s * a.square() * rate
