"""Rectified flow: a straight line from data to noise (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2023)."""

import math
from functools import partial

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths.affine import AffinePath, Three


def rectified_flow(shift: float = 1.0) -> AffinePath:
    """a = 1 − r, s = r with r = shift t / (1 + (shift − 1) t); shift = 1 is the plain line.

    Parameters
    ----------
    shift
        Moves uniform times towards noise, lam by −log(shift); the net is told t, not r.

    Returns
    -------
    AffinePath
        On [0, 1]; a(1) = 0.

    Raises
    ------
    UsageError
        If `shift` is not positive.

    References
    ----------
    Esser et al. 2024, arXiv:2403.03206, eq. 23.
    """
    if not shift > 0:
        raise UsageError(f"expected shift > 0, got {shift}")
    shift = float(shift)
    return AffinePath(
        f"rectified_flow(shift={shift})",
        marginal_at=partial(_marginal, shift=shift),
        slopes_at=partial(_slopes, shift=shift),
        lam_at=partial(_lam, shift=shift),
        time_at=partial(_time, shift=shift),
    )


def _marginal(t: Tensor, *, shift: float) -> Three:
    whole = 1 + (shift - 1) * t
    return (1 - t) / whole, torch.zeros_like(t), shift * t / whole


def _slopes(t: Tensor, *, shift: float) -> Three:
    rate = shift / (1 + (shift - 1) * t).square()
    return -rate, torch.zeros_like(t), rate


def _lam(t: Tensor, *, shift: float) -> Tensor:
    return torch.log1p(-t) - torch.log(t) - math.log(shift)


def _time(lam: Tensor, *, shift: float) -> Tensor:
    return torch.sigmoid(-lam - math.log(shift))
