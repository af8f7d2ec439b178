"""Which times a net is trained at: functions (u, path) -> t of uniform draws u in (0, 1).

The draws come stratified over the batch, which lowers the variance of the loss (Kingma et al. 2021, variational
diffusion models, appendix I.1).
"""

import math

import torch
from torch import Tensor

from fewstep.core.paths import AffinePath


def stratified(n: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """One uniform draw in each of n equal parts of (0, 1), in random order.

    Parameters
    ----------
    n
        Number of draws.
    generator
        Source of randomness, on the CPU.
    device
        Where the result goes.

    Returns
    -------
    Tensor
        Float32, [n].
    """
    offset = torch.rand((), generator=generator)
    order = torch.randperm(n, generator=generator)
    return (((order + offset) / n).clamp(1e-6, 1 - 1e-6)).to(device)


def uniform(u: Tensor, path: AffinePath) -> Tensor:
    """Times spread evenly from `path.t_min` to `path.t_max`.

    Parameters
    ----------
    u
        Uniform draws, [batch].
    path
        The path that is trained.

    Returns
    -------
    Tensor
        Times, [batch].
    """
    return path.t_min + u * (path.t_max - path.t_min)


def logit_normal(u: Tensor, path: AffinePath, *, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Times in the middle more often (Esser et al. 2024, arXiv:2403.03206, eq. 19).

    Parameters
    ----------
    u
        Uniform draws, [batch].
    path
        The path that is trained.
    mean, std
        Of the normal law whose sigmoid is the time.

    Returns
    -------
    Tensor
        Times, [batch].
    """
    return uniform(torch.sigmoid(mean + std * _normal_quantile(u)), path)


def lognormal_sigma(u: Tensor, path: AffinePath, *, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """Times whose sigma = s/a is log-normal (Karras et al. 2022, arXiv:2206.00364, table 1).

    Parameters
    ----------
    u
        Uniform draws, [batch].
    path
        The path that is trained.
    mean, std
        Of log sigma, for data of about unit size.

    Returns
    -------
    Tensor
        Times, [batch], within the path.
    """
    lam = -(mean + std * _normal_quantile(u.double()))
    return path.inverse(lam).clamp(path.t_min, path.t_max).to(u.dtype)


def _normal_quantile(u: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * u - 1)
