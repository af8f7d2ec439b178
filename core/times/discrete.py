"""Grids for nets that were trained at N timesteps: timestep i of the net is the process time (i + 1)/N.

Lin et al. 2023, arXiv:2305.08891, table 2, names the spacings. Grids are moved onto the net's own times, so that the
solver and the net speak of the same noise.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


def trailing(path: AffinePath, n: int) -> Tensor:
    """Timesteps N, N − N/n, ...: starts at the last one, where the prior is; ends at t = 0.

    Parameters
    ----------
    path
        A path with `n_train` = N.
    n
        Number of steps, at most N.

    Returns
    -------
    Tensor
        Decreasing, float64, [n + 1].

    Raises
    ------
    UsageError
        If the path has no timesteps, or n is outside [1, N].
    """
    total = _total(path, n)
    return torch.cat([torch.round(total - torch.arange(n, dtype=torch.float64) * total / n), torch.zeros(1)]) / total


def leading(path: AffinePath, n: int) -> Tensor:
    """Timesteps ..., 2 d, d, 0 with d = N // n, as DDIM and early Stable Diffusion space them; ends at t = 0.

    The first one lies below the prior's, so start from a state of that time, or prefer `trailing`.

    Parameters
    ----------
    path
        A path with `n_train` = N.
    n
        Number of steps, at most N.

    Returns
    -------
    Tensor
        Decreasing, float64, [n + 1].

    Raises
    ------
    UsageError
        If the path has no timesteps, or n is outside [1, N].
    """
    total = _total(path, n)
    index = torch.arange(n - 1, -1, -1, dtype=torch.float64) * (total // n)
    return torch.cat([index + 1, torch.zeros(1)]) / total


def snap(path: AffinePath, times: Tensor) -> Tensor:
    """Move a grid onto the times at which the net was trained; an end at 0 stays.

    Parameters
    ----------
    path
        A path with `n_train` = N.
    times
        Decreasing times, [n + 1].

    Returns
    -------
    Tensor
        Decreasing, float64, [n + 1].

    Raises
    ------
    UsageError
        If the path has no timesteps, or two times fall on the same one.
    """
    total = _total(path, 1)
    index = torch.round(times.double() * total)
    index = torch.where((index == 0) & (times > 0), 1.0, index)
    if not bool((index.diff() < 0).all()):
        raise UsageError(f"two of the {len(times)} times fall on one of the {total} timesteps: take fewer steps")
    return index / total


def timesteps(path: AffinePath, *, integer: bool = False) -> Callable[[Tensor], Tensor]:
    """What to tell the net: t -> t N − 1, for the adapters' `net_time`.

    Parameters
    ----------
    path
        A path with `n_train` = N.
    integer
        Round to int64, for nets that look timesteps up in a table; use it with `trailing`, `leading` or `snap` only.

    Returns
    -------
    callable
        ``net_time(t)``, shaped like t, at least 0.

    Raises
    ------
    UsageError
        If the path has no timesteps.
    """
    total = _total(path, 1)

    def net_time(t: Tensor) -> Tensor:
        index = (t * total - 1).clamp(min=0)
        return index.round().long() if integer else index

    return net_time


def _total(path: AffinePath, n: int) -> int:
    if path.n_train is None:
        raise UsageError(f"{path.key} was not trained at timesteps: take times.uniform, uniform_logsnr or karras")
    if not 1 <= n <= path.n_train:
        raise UsageError(f"expected 1 to {path.n_train} steps, got n={n}")
    return path.n_train
