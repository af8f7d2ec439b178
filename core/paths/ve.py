"""Variance-exploding paths: a = 1, b = 0 (Song et al. 2021, arXiv:2011.13456; Karras et al. 2022, arXiv:2206.00364)."""

import math
from functools import partial

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths.affine import AffinePath, Three


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> AffinePath:
    """Geometric noise: s = sigma_min (sigma_max / sigma_min)^t. At t = 0 the noise sigma_min is left.

    Parameters
    ----------
    sigma_min, sigma_max
        Noise at t = 0 and t = 1, in the data's unit.

    Returns
    -------
    AffinePath
        On [0, 1].

    Raises
    ------
    UsageError
        If not 0 < sigma_min < sigma_max.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456, eq. 30, without the −sigma_min² that its authors drop too.
    """
    _check(sigma_min, sigma_max)
    low, rate = math.log(sigma_min), math.log(sigma_max / sigma_min)
    return AffinePath(
        f"ve(sigma_min={float(sigma_min)}, sigma_max={float(sigma_max)})",
        marginal_at=partial(_marginal, low=low, rate=rate),
        slopes_at=partial(_slopes, low=low, rate=rate),
        lam_at=partial(_lam, low=low, rate=rate),
        time_at=partial(_time, low=low, rate=rate),
        t_min=0.0,
    )


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0) -> AffinePath:
    """Time is the noise: s = t.

    Parameters
    ----------
    sigma_min, sigma_max
        Smallest noise that is resolved and noise of the prior, in the data's unit.

    Returns
    -------
    AffinePath
        On [0, sigma_max].

    Raises
    ------
    UsageError
        If not 0 < sigma_min < sigma_max.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, table 1.
    """
    _check(sigma_min, sigma_max)
    return AffinePath(
        f"edm(sigma_min={float(sigma_min)}, sigma_max={float(sigma_max)})",
        marginal_at=_edm_marginal,
        slopes_at=_edm_slopes,
        lam_at=_edm_lam,
        time_at=_edm_time,
        t_min=float(sigma_min),
        t_max=float(sigma_max),
    )


def _check(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max:
        raise UsageError(f"expected 0 < sigma_min < sigma_max, got {sigma_min=}, {sigma_max=}")


def _marginal(t: Tensor, *, low: float, rate: float) -> Three:
    return torch.ones_like(t), torch.zeros_like(t), torch.exp(low + rate * t)


def _slopes(t: Tensor, *, low: float, rate: float) -> Three:
    return torch.zeros_like(t), torch.zeros_like(t), rate * torch.exp(low + rate * t)


def _lam(t: Tensor, *, low: float, rate: float) -> Tensor:
    return -(low + rate * t)


def _time(lam: Tensor, *, low: float, rate: float) -> Tensor:
    return (-lam - low) / rate


def _edm_marginal(t: Tensor) -> Three:
    return torch.ones_like(t), torch.zeros_like(t), t


def _edm_slopes(t: Tensor) -> Three:
    return torch.zeros_like(t), torch.zeros_like(t), torch.ones_like(t)


def _edm_lam(t: Tensor) -> Tensor:
    return -torch.log(t)


def _edm_time(lam: Tensor) -> Tensor:
    return torch.exp(-lam)
