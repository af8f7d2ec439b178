"""Mean-reverting paths to y: OUVE of speech enhancement and IR-SDE of image restoration.

OUVE: Richter et al. 2023, arXiv:2208.05830, eq. 9-11. IR-SDE: Luo et al. 2023, arXiv:2301.11699, eq. 5-8.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths.affine import AffinePath, Three
from fewstep.core.paths.table import find, interpolate, slope


def ou(gamma: float = 1.5, sigma_min: float = 0.05, sigma_max: float = 0.5) -> AffinePath:
    """OUVE: dx = gamma (y − x) dt + sigma_min k^t sqrt(2 log k) dw, k = sigma_max / sigma_min.

    a = e^{−gamma t}, b = 1 − a, s² = sigma_min² log k / (gamma + log k) (k^{2t} − a²).

    Parameters
    ----------
    gamma
        Rate at which the mean goes to y, per unit of time.
    sigma_min, sigma_max
        Scales of the noise, in the data's unit; s(1) is smaller than `sigma_max`.

    Returns
    -------
    AffinePath
        On [0, 1]; `t_min` = 0.03, as SGMSE+ stops there.

    Raises
    ------
    UsageError
        If not gamma > 0 and 0 < sigma_min < sigma_max.
    """
    if not (gamma > 0 and 0 < sigma_min < sigma_max):
        raise UsageError(f"expected gamma > 0, 0 < sigma_min < sigma_max, got {gamma=}, {sigma_min=}, {sigma_max=}")
    growth = math.log(sigma_max / sigma_min)
    options: dict[str, Any] = {
        "gamma": float(gamma),
        "growth": growth,
        "scale": sigma_min * math.sqrt(growth / (gamma + growth)),
    }
    return AffinePath(
        f"ou(gamma={float(gamma)}, sigma_min={float(sigma_min)}, sigma_max={float(sigma_max)})",
        marginal_at=partial(_ou_marginal, **options),
        slopes_at=partial(_ou_slopes, **options),
        lam_at=partial(_ou_lam, **options),
        time_at=partial(_ou_time, **options),
        t_min=0.03,
    )


def ir_sde(max_sigma: float = 50.0, eps: float = 0.005, n_steps: int = 100, offset: float = 0.008) -> AffinePath:
    """IR-SDE with its cosine theta schedule: a = e^{−h(t)}, b = 1 − a, s = max_sigma/255 · sqrt(1 − a²).

    h is the official table of `n_steps` sums of theta, linear in between.

    Parameters
    ----------
    max_sigma
        Stationary noise, in units of 1/255 of the data range [0, 1].
    eps
        a(1): how much of x0 is left at the end.
    n_steps
        Number of timesteps the net is trained at.
    offset
        Of the cosine.

    Returns
    -------
    AffinePath
        On [0, 1], with `n_train` = n_steps.

    Raises
    ------
    UsageError
        If not max_sigma > 0, 0 < eps < 1 and n_steps >= 2.
    """
    if not (max_sigma > 0 and 0 < eps < 1 and n_steps >= 2):
        raise UsageError(f"expected max_sigma > 0, 0 < eps < 1, n_steps >= 2, got {max_sigma=}, {eps=}, {n_steps=}")
    options: dict[str, Any] = {"sums": _theta_sums(n_steps, offset) * -math.log(eps), "scale": max_sigma / 255}
    return AffinePath(
        f"ir_sde(max_sigma={float(max_sigma)}, eps={eps}, n_steps={n_steps}, offset={offset})",
        marginal_at=partial(_ir_marginal, **options),
        slopes_at=partial(_ir_slopes, **options),
        lam_at=partial(_ir_lam, **options),
        time_at=partial(_ir_time, **options),
        t_min=1 / n_steps,
        n_train=n_steps,
    )


def _ou_marginal(t: Tensor, *, gamma: float, growth: float, scale: float) -> Three:
    a = torch.exp(-gamma * t)
    s = scale * a * torch.sqrt(torch.expm1(2 * (gamma + growth) * t))
    return a, -torch.expm1(-gamma * t), s


def _ou_slopes(t: Tensor, *, gamma: float, growth: float, scale: float) -> Three:
    a, _, s = _ou_marginal(t, gamma=gamma, growth=growth, scale=scale)
    rise = growth * torch.exp(2 * growth * t) + gamma * a.square()
    return -gamma * a, gamma * a, scale**2 * rise / s


def _ou_lam(t: Tensor, *, gamma: float, growth: float, scale: float) -> Tensor:
    return -math.log(scale) - torch.log(torch.expm1(2 * (gamma + growth) * t)) / 2


def _ou_time(lam: Tensor, *, gamma: float, growth: float, scale: float) -> Tensor:
    return torch.log1p(torch.exp(-2 * lam) / scale**2) / (2 * (gamma + growth))


def _theta_sums(n: int, offset: float) -> Tensor:
    phi = (torch.arange(n + 3, dtype=torch.float64) / (n + 2) + offset) / (1 + offset) * math.pi / 2
    theta = 1 - (torch.cos(phi) / torch.cos(phi[0])).square()
    sums = torch.cumsum(theta[1 : n + 2], 0) - theta[1]
    return sums / sums[-1]


def _ir_marginal(t: Tensor, *, sums: Tensor, scale: float) -> Three:
    h = interpolate((len(sums) - 1) * t, sums)
    return torch.exp(-h), -torch.expm1(-h), scale * torch.sqrt(-torch.expm1(-2 * h))


def _ir_slopes(t: Tensor, *, sums: Tensor, scale: float) -> Three:
    a, _, s = _ir_marginal(t, sums=sums, scale=scale)
    rate = (len(sums) - 1) * slope((len(sums) - 1) * t, sums)
    return -a * rate, a * rate, (scale * a).square() * rate / s


def _ir_lam(t: Tensor, *, sums: Tensor, scale: float) -> Tensor:
    h = interpolate((len(sums) - 1) * t, sums)
    return -torch.log(torch.expm1(2 * h)) / 2 - math.log(scale)


def _ir_time(lam: Tensor, *, sums: Tensor, scale: float) -> Tensor:
    h = torch.log1p(torch.exp(-2 * lam) / scale**2) / 2
    return find(h, sums) / (len(sums) - 1)
