"""Bridges: paths that are pinned at x0 and at y, s(0) = s(t_max) = 0.

At t_max, lam = −inf and x = y: the first step is taken in u = x − b y, where nothing cancels.
Brownian bridge: Li et al. 2023, arXiv:2205.07680, eq. 4.
Schrödinger bridge: Jukić et al. 2024, arXiv:2407.16074, eq. 10.
"""

import math
from functools import partial

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths.affine import AffinePath, Three


def brownian_bridge(sigma: float = 1.0) -> AffinePath:
    """a = 1 − t, b = t, s = sigma sqrt(t (1 − t)).

    Parameters
    ----------
    sigma
        Twice the largest noise, in the data's unit.

    Returns
    -------
    AffinePath
        On [0, 1].

    Raises
    ------
    UsageError
        If `sigma` is not positive.
    """
    if not sigma > 0:
        raise UsageError(f"expected sigma > 0, got {sigma}")
    return _bridge(f"brownian_bridge(sigma={float(sigma)})", _even, _identity, float(sigma) ** 2)


def sb_ve(k: float = 2.6, c: float = 0.4) -> AffinePath:
    """The Schrödinger bridge between x0 and y under dx = sqrt(c) k^t dw.

    With q(t) = c (k^{2t} − 1)/(2 log k): b = q/q(1), a = 1 − b, s² = q(1) a b.

    Parameters
    ----------
    k
        Growth of the noise rate over the path, above 1.
    c
        Noise rate at t = 0.

    Returns
    -------
    AffinePath
        On [0, 1].

    Raises
    ------
    UsageError
        If not k > 1 and c > 0.
    """
    if not (k > 1 and c > 0):
        raise UsageError(f"expected k > 1 and c > 0, got {k=}, {c=}")
    rate = 2 * math.log(k)
    total = c * math.expm1(rate) / rate
    return _bridge(
        f"sb_ve(k={float(k)}, c={float(c)})", partial(_grown, rate=rate), partial(_ungrown, rate=rate), total
    )


def _bridge(key: str, clock, clock_inverse, variance: float) -> AffinePath:
    return AffinePath(
        key,
        marginal_at=partial(_marginal, clock=clock, variance=variance),
        slopes_at=partial(_slopes, clock=clock, variance=variance),
        lam_at=partial(_lam, clock=clock, variance=variance),
        time_at=partial(_time, clock_inverse=clock_inverse, variance=variance),
    )


def _identity(done: Tensor) -> Tensor:
    return done


def _even(t: Tensor) -> Three:
    return t, 1 - t, torch.ones_like(t)


def _grown(t: Tensor, *, rate: float) -> Three:
    whole = math.expm1(rate)
    done = torch.expm1(rate * t) / whole
    left = -math.exp(rate) / whole * torch.expm1(rate * (t - 1))
    return done, left, rate * torch.exp(rate * t) / whole


def _ungrown(done: Tensor, *, rate: float) -> Tensor:
    return torch.log1p(done * math.expm1(rate)) / rate


def _marginal(t: Tensor, *, clock, variance: float) -> Three:
    done, left, _ = clock(t)
    return left, done, torch.sqrt(variance * done * left)


def _slopes(t: Tensor, *, clock, variance: float) -> Three:
    done, left, rate = clock(t)
    s = torch.sqrt(variance * done * left)
    return -rate, rate, variance * rate * (left - done) / (2 * s)


def _lam(t: Tensor, *, clock, variance: float) -> Tensor:
    done, left, _ = clock(t)
    return (torch.log(left) - torch.log(done) - math.log(variance)) / 2


def _time(lam: Tensor, *, clock_inverse, variance: float) -> Tensor:
    done = torch.sigmoid(-2 * lam - math.log(variance))
    return clock_inverse(done)
