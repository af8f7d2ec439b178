"""Residual shifting: the mean moves from x0 to y while noise grows (Yue et al. 2023, arXiv:2307.12348, eq. 1-2, 10)."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths.affine import AffinePath, Three


def resshift(
    kappa: float = 2.0, n_steps: int = 15, p: float = 0.3, min_noise: float = 0.04, max_root: float = 0.99
) -> AffinePath:
    """a = 1 − r², b = r², s = kappa r, with r_i = r_1 (r_N / r_1)^{((i−1)/(N−1))^p} at t = i/N.

    Below t = 1/N, r falls linearly to 0.

    Parameters
    ----------
    kappa
        Noise per shift, in the data's unit.
    n_steps
        N, the number of timesteps the net is trained at.
    p
        Exponent of the schedule.
    min_noise
        s at the first timestep (0.04 for N = 15, 0.2 for N = 4 in the official configs).
    max_root
        r_N.

    Returns
    -------
    AffinePath
        On [0, 1], with `n_train` = n_steps.

    Raises
    ------
    UsageError
        If a parameter is not positive, N < 2, or the schedule does not rise to below 1.
    """
    if not (min(kappa, p, min_noise) > 0 and n_steps >= 2):
        raise UsageError(f"expected positive kappa, p, min_noise and n_steps >= 2, got {kappa=}, {p=}, {n_steps=}")
    first = min(min_noise / kappa, min_noise)
    if not first < max_root < 1:
        raise UsageError(f"expected the first root {first} < max_root < 1, got max_root={max_root}")
    roots: dict[str, Any] = {"first": first, "growth": math.log(max_root / first), "n": n_steps, "p": float(p)}
    return AffinePath(
        f"resshift(kappa={float(kappa)}, n_steps={n_steps}, p={float(p)}, {min_noise=}, {max_root=})",
        marginal_at=partial(_marginal, kappa=kappa, **roots),
        slopes_at=partial(_slopes, kappa=kappa, **roots),
        lam_at=partial(_lam, kappa=kappa, **roots),
        time_at=partial(_time, kappa=kappa, **roots),
        t_min=1 / n_steps,
        n_train=n_steps,
    )


def _root(t: Tensor, *, first: float, growth: float, n: int, p: float) -> Tensor:
    part = ((n * t - 1) / (n - 1)).clamp(min=1e-300)
    return torch.where(n * t <= 1, first * n * t, first * torch.exp(growth * part**p))


def _root_slope(t: Tensor, *, first: float, growth: float, n: int, p: float) -> Tensor:
    part = ((n * t - 1) / (n - 1)).clamp(min=1e-300)
    rise = growth * p * part ** (p - 1) * n / (n - 1)
    return torch.where(n * t <= 1, first * n, first * torch.exp(growth * part**p) * rise)


def _marginal(t: Tensor, *, kappa: float, **roots) -> Three:
    root = _root(t, **roots)
    return 1 - root.square(), root.square(), kappa * root


def _slopes(t: Tensor, *, kappa: float, **roots) -> Three:
    root, rate = _root(t, **roots), _root_slope(t, **roots)
    return -2 * root * rate, 2 * root * rate, kappa * rate


def _lam(t: Tensor, *, kappa: float, **roots) -> Tensor:
    root = _root(t, **roots)
    return torch.log1p(-root.square()) - torch.log(kappa * root)


def _time(lam: Tensor, *, kappa: float, first: float, growth: float, n: int, p: float) -> Tensor:
    noise = kappa * torch.exp(lam)
    root = 2 / (noise + torch.sqrt(noise.square() + 4))
    part = (torch.log(root / first) / growth).clamp(min=0) ** (1 / p)
    return torch.where(root <= first, root / first, 1 + (n - 1) * part) / n
