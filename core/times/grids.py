"""Grids of times for nets that were trained at all times: n -> n + 1 decreasing times, float64.

By default every grid ends at t = 0, the clean data.
"""

import math

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


def uniform(path: AffinePath, n: int, *, start: float | None = None, end: float = 0.0) -> Tensor:
    """Equal steps in time.

    Parameters
    ----------
    path
        The process.
    n
        Number of steps.
    start, end
        First and last time; default `path.t_max` and 0.

    Returns
    -------
    Tensor
        Decreasing, float64, [n + 1].

    Raises
    ------
    UsageError
        If n < 1 or not 0 <= end < start <= path.t_max.
    """
    start = _check(path, n, start, end)
    return torch.linspace(start, end, n + 1, dtype=torch.float64)


def uniform_logsnr(
    path: AffinePath, n: int, *, start: float | None = None, end: float | None = None, zero: bool = True
) -> Tensor:
    """Equal steps in lam = log(a/s) (Lu et al. 2022, arXiv:2206.00927, section 3.4).

    Parameters
    ----------
    path
        The process.
    n
        Number of steps.
    start, end
        First and last time of the equal steps; default `path.t_max` and `path.t_min`.
    zero
        Take the last of the n steps from `end` to t = 0; False stops at `end`.

    Returns
    -------
    Tensor
        Decreasing, float64, [n + 1].

    Raises
    ------
    UsageError
        If n < 1, the times are not in order, or lam is infinite at one of them.
    """
    start, end = _ends(path, n, start, end)
    first, last = (float(path.lam(t)) for t in (start, end))
    inner = n - 1 if zero else n
    return _finish(path.inverse(torch.linspace(first, last, inner + 1, dtype=torch.float64)), start, end, zero)


def karras(
    path: AffinePath,
    n: int,
    rho: float = 7.0,
    *,
    start: float | None = None,
    end: float | None = None,
    zero: bool = True,
) -> Tensor:
    """Equal steps in sigma^{1/rho}, sigma = s/a (Karras et al. 2022, arXiv:2206.00364, eq. 5).

    Parameters
    ----------
    path
        The process.
    n
        Number of steps.
    rho
        7 in the paper; larger puts more steps near the data.
    start, end
        First and last time of the equal steps; default `path.t_max` and `path.t_min`.
    zero
        Take the last of the n steps from `end` to t = 0; False stops at `end`.

    Returns
    -------
    Tensor
        Decreasing, float64, [n + 1].

    Raises
    ------
    UsageError
        If n < 1, rho is not positive, the times are not in order, or lam is infinite at one of them.
    """
    if not rho > 0:
        raise UsageError(f"expected rho > 0, got {rho}")
    start, end = _ends(path, n, start, end)
    first, last = (math.exp(-float(path.lam(t)) / rho) for t in (start, end))
    inner = n - 1 if zero else n
    sigma = torch.linspace(first, last, inner + 1, dtype=torch.float64) ** rho
    return _finish(path.inverse(-torch.log(sigma)), start, end, zero)


def shift(times: Tensor, m: float) -> Tensor:
    """Times of a rectified flow for another resolution: t' = m t / (1 + (m − 1) t), lam' = lam − log m.

    Parameters
    ----------
    times
        Decreasing times in [0, 1].
    m
        Square root of the ratio of pixels; above 1 spends more steps at high noise.

    Returns
    -------
    Tensor
        Shaped like `times`.

    Raises
    ------
    UsageError
        If m is not positive or a time is outside [0, 1].

    References
    ----------
    Esser et al. 2024, arXiv:2403.03206, eq. 23.
    """
    if not m > 0:
        raise UsageError(f"expected m > 0, got {m}")
    if not bool(((times >= 0) & (times <= 1)).all()):
        raise UsageError(f"expected times in [0, 1] to shift, got {times.tolist()}")
    return m * times / (1 + (m - 1) * times)


def _check(path: AffinePath, n: int, start: float | None, end: float) -> float:
    start = path.t_max if start is None else start
    if n < 1:
        raise UsageError(f"expected at least one step, got n={n}")
    if not 0 <= end < start <= path.t_max:
        raise UsageError(f"expected 0 <= end < start <= {path.t_max}, got {start=}, {end=}")
    return start


def _ends(path: AffinePath, n: int, start: float | None, end: float | None) -> tuple[float, float]:
    end = path.t_min if end is None else end
    start = _check(path, n, start, end)
    for name, t in (("start", start), ("end", end)):
        if not math.isfinite(float(path.lam(t))):
            raise UsageError(f"log(a/s) of {path.key} is infinite at {name}={t}: pass a {name} inside the path")
    return start, end


def _finish(times: Tensor, start: float, end: float, zero: bool) -> Tensor:
    times[0] = start
    if not zero or end == 0:
        times[-1] = end if len(times) > 1 else start
    return torch.cat([times, times.new_zeros(1)]) if zero else times
